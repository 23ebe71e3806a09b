"""The settings: their defaults, which win over which, and that secrets stay secret."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import msgspec
import pytest

from syncer.config.settings import load_with_faults
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits
from syncer.zenlayer.credentials import KeyPair, Token
from tests.config.support import KEYS, SECRET, Place


def test_the_defaults_are_the_documented_ones(place: Place) -> None:
    """With nothing set at all, every setting has the value that the design promises."""
    settings = place.load()
    assert (settings.account.name, settings.account.services) == ("default", ("vm",))
    assert settings.account.api.endpoint == "https://console.zenlayer.com"
    assert settings.account.api.credentials is None
    assert (
        settings.account.api.max_concurrency,
        settings.account.api.max_rate,
        settings.account.page_size,
    ) == (
        32,
        None,
        1000,
    )
    for accounts, calls in (("8", 32), ("9", 16)):
        many = place.load(SYNCER_ACCOUNTS_AT_ONCE=accounts)
        assert many.account.api.max_concurrency == calls
    given = place.load(SYNCER_ACCOUNTS_AT_ONCE="9", SYNCER_MAX_CONCURRENCY="40")
    assert given.account.api.max_concurrency == 40
    assert (settings.account.api.request_timeout, settings.account.run_timeout) == (30.0, 900.0)
    assert settings.account.guard == Limits(zone_count=10, zone_percent=25, run_percent=20)
    assert (settings.log_format, settings.log_level) == ("auto", "auto")
    assert settings.metrics_file is None
    assert settings.state_dir == place.home / ".local/state/syncer"
    assert settings.database.embedded
    assert settings.database.home == place.home / ".local/state/syncer/postgres"


def test_a_faulty_value_is_in_doubt_and_a_lost_file_puts_defaults_in_doubt(place: Place) -> None:
    """Whoever goes on in spite of faults knows which settings are not what was meant."""
    env = {"HOME": str(place.home), "SYNCER_RUN_TIMEOUT": "soon", "SYNCER_PAGE_SIZE": "5"}
    loaded = load_with_faults({}, env)
    assert loaded.settings.account.run_timeout == 900.0
    assert loaded.first_faulty("SYNCER_ACCOUNT", "SYNCER_RUN_TIMEOUT") == "SYNCER_RUN_TIMEOUT"
    assert loaded.first_faulty("SYNCER_ACCOUNT", "SYNCER_PAGE_SIZE") is None
    loaded = load_with_faults({}, env | {"SYNCER_CONFIG": str(place.home / "none.toml")})
    assert loaded.first_faulty("SYNCER_ACCOUNT") == "the settings file"
    assert loaded.first_faulty("SYNCER_PAGE_SIZE") is None


def test_the_database_is_a_url_or_libpq_or_embedded(place: Place) -> None:
    """A URL wins over PG* variables, which win over the embedded server."""
    url = "postgresql://u:p@h/d"
    given_url = place.load(SYNCER_DATABASE_URL=url, PGHOST="h").database
    assert given_url.url is not None
    assert given_url.url.reveal() == url
    assert (given_url.libpq, given_url.embedded) == (False, False)
    (place.home / ".pg_service.conf").write_text("[1]\nhost=h\n")
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE"):
        libpq = place.load(**{name: "1"}).database
        assert (libpq.url, libpq.libpq, libpq.embedded) == (None, True, False)
    assert place.load(PGHOST="").database.embedded


def test_the_state_directory_moves(place: Place) -> None:
    """XDG_STATE_HOME and SYNCER_STATE_DIR move the embedded server; the path is absolute."""
    assert place.load(XDG_STATE_HOME="/x").state_dir == Path("/x/syncer")
    settings = place.load(SYNCER_STATE_DIR="here", XDG_STATE_HOME="/x")
    assert settings.state_dir == Path.cwd() / "here"
    assert settings.database.home == Path.cwd() / "here" / "postgres"


def test_a_user_without_a_home_has_the_root_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As container runtimes set it: what cannot be written there says which setting helps."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 61235)
    assert load_with_faults(environment={}).settings.state_dir == Path("/.local/state/syncer")


def test_the_proxy_of_the_environment_is_used_but_not_for_loopback(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY and NO_PROXY are honoured; a call to this machine goes straight."""
    for name in ("https_proxy", "http_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:{SECRET}@proxy:3128")
    settings = place.load()
    assert settings.account.api.proxy is not None
    assert settings.account.api.proxy.reveal() == f"http://u:{SECRET}@proxy:3128"
    assert SECRET not in repr(settings)
    assert place.load(ZENLAYER_ENDPOINT="https://localhost:1").account.api.proxy is None
    for excepted in ("console.zenlayer.com", "*.zenlayer.com:443"):
        monkeypatch.setenv("NO_PROXY", excepted)
        assert place.load().account.api.proxy is None
    monkeypatch.setenv("NO_PROXY", "zenlayer.com:8443")
    assert place.load().account.api.proxy is not None


def test_a_key_pair_is_read_by_the_names_of_the_command_line_tool(place: Place) -> None:
    """The CLI's names make a key pair, trimmed as the SDK trims them."""
    pair = place.load(
        **{name: f" {value}\n" for name, value in KEYS.items()}
    ).account.api.credentials
    assert isinstance(pair, KeyPair)
    assert (pair.key_id, pair.secret.reveal()) == ("AKID1", SECRET)


def test_the_names_of_terraform_are_read_too(place: Place) -> None:
    """Terraform's names stand in where the CLI's are unset, and yield where they are set."""
    terraform = {
        "ZENLAYERCLOUD_ACCESS_KEY_ID": "TF",
        "ZENLAYERCLOUD_ACCESS_KEY_PASSWORD": "tf-secret",
    }
    pair = place.load(**terraform).account.api.credentials
    assert isinstance(pair, KeyPair)
    assert (pair.key_id, pair.secret.reveal()) == ("TF", "tf-secret")
    pair = place.load(**terraform, **KEYS).account.api.credentials
    assert isinstance(pair, KeyPair)
    assert (pair.key_id, pair.secret.reveal()) == ("AKID1", SECRET)


def test_half_a_pair_is_never_completed_from_another(place: Place) -> None:
    """An id of one tool and a secret of the other make no pair: the missing one is named."""
    [fault] = place.faults(ZENLAYER_ACCESS_KEY_ID="AKID1", ZENLAYERCLOUD_ACCESS_KEY_PASSWORD=SECRET)
    assert fault == (
        "ZENLAYER_ACCESS_KEY_ID is set but ZENLAYER_ACCESS_KEY_SECRET is not: both make a key pair"
    )
    [fault] = place.faults(ZENLAYERCLOUD_ACCESS_KEY_PASSWORD=SECRET)
    assert fault.startswith("ZENLAYERCLOUD_ACCESS_KEY_PASSWORD is set but ZENLAYERCLOUD_ACCESS_KEY")


def test_a_token_wins_over_a_key_pair(place: Place) -> None:
    """As in the CLI, a token is used where both are set, from whatever layer each comes."""
    place.credential("zenlayer_token", "tok\n")
    token = place.load(**KEYS).account.api.credentials
    assert isinstance(token, Token)
    assert token.token.reveal() == "tok"


def test_credentials_may_all_come_from_the_credentials_directory(place: Place) -> None:
    """Systemd's LoadCredential gives one file a value, named like its variable in lower case."""
    place.credential("zenlayer_access_key_id", "AKID2\n")
    place.credential("zenlayer_access_key_secret", f"{SECRET}\n")
    place.credential("syncer_database_url", "postgresql://u:p@h/d\n")
    settings = place.load()
    assert isinstance(settings.account.api.credentials, KeyPair)
    assert (
        settings.account.api.credentials.key_id,
        settings.account.api.credentials.secret.reveal(),
    ) == (
        "AKID2",
        SECRET,
    )
    assert settings.database.url is not None
    assert settings.database.url.reveal() == "postgresql://u:p@h/d"


def test_missing_credentials_are_a_fault_only_where_they_are_needed(place: Place) -> None:
    """Reading what is stored needs none; asking for them says which to set."""
    settings = place.load()
    with pytest.raises(ConfigError, match="ZENLAYER_ACCESS_KEY_SECRET"):
        settings.require_credentials()
    place.load(**KEYS).require_credentials()


def test_a_secret_never_shows(place: Place) -> None:
    """Not in a repr, a text, a format, a pickle or JSON of the settings, from any layer."""
    place.credential("zenlayer_access_key_secret", SECRET)
    settings = place.load(
        ZENLAYER_ACCESS_KEY_ID="AKID1", SYNCER_DATABASE_URL=f"postgresql://u:{SECRET}@h/d"
    )
    secret = settings.account.api.credentials
    assert isinstance(secret, KeyPair)
    for shown in (settings, secret, secret.secret, settings.database, [settings], {"k": secret}):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
        assert SECRET not in f"{shown}"
        assert SECRET not in f"{shown!r:>5}"
        assert SECRET not in "%s %r" % (shown, shown)  # noqa: UP031  (what old log calls do)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
    assert not hasattr(secret.secret, "__dict__")


@pytest.mark.parametrize(
    "environment",
    [
        {"ZENLAYER_ACCESS_KEY_SECRET": SECRET},
        {"ZENLAYERCLOUD_ACCESS_KEY_PASSWORD": SECRET},
        {"ZENLAYER_TOKEN": f"{SECRET}\x07"},
        {**KEYS, "SYNCER_PAGE_SIZE": "0"},
        {"SYNCER_DATABASE_URL": f"mysql://u:{SECRET}@h/d"},
        {"SYNCER_DATABASE_URL": f"u:{SECRET}@h/d"},
        {"SYNCER_DATABASE_URL": f"postgresql://u:{SECRET}@h:port/d"},
        {"SYNCER_DATABASE_URL": f"postgresql://u:{SECRET}@[::1/d"},
        {"ZENLAYER_ENDPOINT": f"https://u:{SECRET}@example.com"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_a_fault_never_repeats_a_secret(place: Place, environment: dict[str, str]) -> None:
    """What is wrong is said without the value, where the value is or holds a secret."""
    with pytest.raises(ConfigError) as caught:
        place.load(**environment)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


BROKEN = [
    {"SYNCER_DATABASE_URL": f"postgresql://u:{SECRET}/x@h/d"},
    {"ZENLAYER_ENDPOINT": f"https://u:{SECRET}@"},
    {"ZENLAYER_ENDPOINT": f"https://u:{SECRET}@example.com:port"},
]


@pytest.mark.parametrize("environment", BROKEN, ids=lambda one: next(iter(one.values()))[-12:])
def test_a_fault_of_a_broken_url_never_repeats_its_password(
    place: Place, environment: dict[str, str]
) -> None:
    """A URL that cannot be parsed is not quoted: the broken part may be the password."""
    with pytest.raises(ConfigError) as caught:
        place.load(**environment)
    assert SECRET not in str(caught.value)
