"""Secrets by their value: in every spelling, and nothing but secrets."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncer import secrets as redact
from syncer.config.parsers import remember_others
from syncer.secrets import mask, mask_proxy, redacted, remember


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_spellings", set())
    monkeypatch.setattr(redact, "_known", None)


@given(st.binary(max_size=7), st.binary(max_size=7))
@settings(max_examples=50, deadline=None)
def test_base64_is_seen_through_wherever_the_secret_stands_in_it(
    before: bytes, after: bytes
) -> None:
    """Basic authentication encodes a login and the password after it: no piece of it remains."""
    secret = "S3cret?>/~hunter\xff"
    remember(secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        said = encode(before + secret.encode() + after).decode()
        rest = redacted(said)
        assert len(rest) <= len(said) - len(secret) + len("***")
        assert redacted(f"x {said} y") == f"x {rest} y"


@pytest.mark.parametrize("word", ["", "a", "12345", "syncer", "Postgres", "password"])
def test_a_plain_word_is_no_secret(word: str) -> None:
    """To star it wherever it stands would spoil every sentence, and reveal what it is."""
    remember(word)
    said = f"run: syncer db upgrade; {word} 12345 password of Postgres"
    assert said == redacted(said)


def test_the_longest_secret_is_starred_whole() -> None:
    """Of a secret that begins with another nothing remains."""
    remember("s3cret-1")
    remember("s3cret-1-and-more")
    assert "*** ***" == redacted("s3cret-1-and-more S3CRET-1")


def test_secrets_of_libraries_are_known() -> None:
    """What asyncpg, a proxy and the exporter of traces read by themselves is known."""
    remember_others(
        {
            "PGPASSWORD": "pg-secret-1",
            "all_proxy": "http://u:proxy-secret%2F2@h:1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://u:otel-secret-3@h",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=otel%20secret-4,authorization=Bearer otel-s-5",
            "BAD_PROXY": "http://[",
        }
    )
    said = "pg-secret-1 proxy-secret/2 otel-secret-3 secret-4 otel-s-5"
    assert "*** *** *** *** ***" == redacted(said)
    assert "Bearer" == redacted("Bearer")


def test_a_quoted_secret_is_starred_once() -> None:
    """A percent-encoded secret is starred whole, in either case of its digits."""
    remember("a/b+c é d")
    assert "***" == redacted(quote("a/b+c é d", safe=""))
    assert "***" == redacted(quote("a/b+c é d", safe="").lower())


passwords = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("@:%"),
    min_size=1,
    max_size=12,
)


@given(passwords)
@example("@:%")
@example("p@ss:w%40rd")
@settings(max_examples=60, deadline=None)
def test_mask_never_shows_a_password_that_was_quoted(password: str) -> None:
    """A URL shows everything but the password, in its user part and in its query."""
    quoted = quote(password, safe="")
    url = f"postgresql://user:{quoted}@host:5432/name?sslmode=require"
    assert mask(url) == "postgresql://user:***@host:5432/name?sslmode=require"
    url = f"postgresql://host/name?password={quoted}&user=u"
    assert mask(url) == "postgresql://host/name?password=***&user=u"


@given(passwords.filter(lambda text: not set(text) & set("/?#[]\\\n") and text.isascii()))
@example("@:%")
@example("a@b@c")
@example(":::")
@settings(max_examples=60, deadline=None)
def test_mask_never_shows_a_password_that_was_not_quoted(password: str) -> None:
    """An ``@``, ``:`` or ``%`` that should have been quoted gives nothing away."""
    assert mask(f"postgresql://user:{password}@host/name") == "postgresql://user:***@host/name"


@pytest.mark.parametrize("password", ["12/zz", "12#zz", "12?zz", "pa/zz", "p[zz", "[zz", "/zz@x"])
def test_mask_never_shows_a_password_that_breaks_the_url(password: str) -> None:
    """Whatever part of a URL a password falls into, what follows its colon is not shown."""
    assert "zz" not in mask(f"postgresql://user:{password}@host/name")


@pytest.mark.parametrize("before", ["host/name", "user@host/name", "u:p@host/name"])
def test_mask_never_shows_a_password_of_the_query_that_holds_an_at_sign(before: str) -> None:
    """A password in the query is starred up to its end, an ``@`` in it included."""
    assert "zz" not in mask(f"postgresql://{before}?password=zz@zz&sslmode=require")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/name", "postgresql://host/name"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
        ("postgresql://user:@host/name", "postgresql://user:***@host/name"),
        (
            "postgresql:///name?host=/run/pg",
            "postgresql:///name?host=/run/pg",
        ),
        (
            "postgres://h/d?PASSWORD=x&sslpassword=y&passfile=z&a=b",
            "postgres://h/d?PASSWORD=***&sslpassword=***&passfile=***&a=b",
        ),
    ],
)
def test_mask_leaves_the_rest_of_a_url_as_it_is(url: str, shown: str) -> None:
    """What is shown can be used again once the password is put back."""
    assert mask(url) == shown


@pytest.mark.parametrize(
    "address",
    [
        "user:{}@proxy.example:8080",
        "http://user:{}@proxy.example:8080",
        "host=h user=u password={} dbname=d",
        "host=h password = '{}' dbname=d",
        "postgresql://h/d?sslpassword={}",
        "postgresql://h/d?user=u&PASSWORD={}",
    ],
)
def test_an_address_of_any_form_is_masked_and_its_password_known(address: str) -> None:
    """With or without a scheme, as a URL or in libpq's keywords."""
    password = "Pr0xy-Passw0rd"
    given = address.format(password)
    assert password not in mask(given)
    assert "example" in mask(given) or "h" in mask(given)
    redact.Secret(given)
    assert password not in redacted(f"could not reach {password} at all")


@pytest.mark.parametrize("login", ["key-1234567", "key-1234567:"])
def test_the_login_of_a_proxy_is_a_secret_where_it_has_no_password(login: str) -> None:
    for scheme in ("http://", ""):
        assert f"{scheme}***@proxy:3128" == mask_proxy(f"{scheme}{login}@proxy:3128")
    assert "http://u:***@proxy:3128" == mask_proxy(f"http://u:{login}9@proxy:3128")
    assert "http://proxy:3128" == mask_proxy("http://proxy:3128")
