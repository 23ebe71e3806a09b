"""Secrets by their value: in every spelling, and nothing but secrets."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer import secrets as redact
from syncer.config.parsers import remember_others
from syncer.secrets import redacted, remember


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
