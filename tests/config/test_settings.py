"""Configuration: where a value comes from, what is wrong with it, and that secrets stay secret."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncer.config import parsers
from syncer.config.settings import Settings, load, load_with_faults
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits
from syncer.core.moment import duration
from syncer.secrets import Secret, mask
from syncer.zenlayer.credentials import KeyPair, Token

SECRET = "s3cr3t-Pl4nted"
KEYS = {"ZENLAYER_ACCESS_KEY_ID": "AKID1", "ZENLAYER_ACCESS_KEY_SECRET": SECRET}


class Place:
    """A home of its own: nothing of the machine's configuration is read."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "syncer.toml"
        self.credentials = home / "credentials"

    def load(self, flags: Mapping[str, Any] | None = None, /, **environment: str) -> Settings:
        env = {"HOME": str(self.home)}
        if self.file.exists():
            env["SYNCER_CONFIG"] = str(self.file)
        if self.credentials.exists():
            env["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        return load(flags, {**env, **environment})

    def credential(self, name: str, value: str) -> None:
        self.credentials.mkdir(exist_ok=True)
        (self.credentials / name).write_text(value)

    def faults(
        self, flags: Mapping[str, Any] | None = None, /, **environment: str
    ) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(flags, **environment)
        return caught.value.faults


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# --- precedence


def test_the_defaults_are_the_documented_ones(place: Place) -> None:
    """With nothing set at all, every setting has the value that the design promises."""
    settings = place.load()
    assert (settings.account, settings.services) == ("default", ("vm",))
    assert settings.api.endpoint == "https://console.zenlayer.com"
    assert settings.api.credentials is None
    assert (settings.api.max_concurrency, settings.api.max_rate, settings.page_size) == (
        16,
        None,
        1000,
    )
    assert (settings.api.request_timeout, settings.run_timeout) == (30.0, 900.0)
    assert settings.guard == Limits(zone_count=10, zone_percent=25, run_percent=50)
    assert (settings.log_format, settings.log_level) == ("auto", "auto")
    assert settings.metrics_file is None
    assert settings.state_dir == place.home / ".local/state/syncer"
    assert settings.database.embedded
    assert settings.database.home == place.home / ".local/state/syncer/postgres"


def test_each_layer_goes_before_the_next(place: Place) -> None:
    """Flag > environment > credentials directory > file > default, each seen when those go."""
    flags, env = {"page_size": 1}, {"SYNCER_PAGE_SIZE": "2"}
    place.credential("syncer_page_size", "3\n")
    place.file.write_text("page_size = 4\n")
    assert place.load(flags, **env).page_size == 1
    assert place.load({"page_size": None}, **env).page_size == 2
    assert place.load().page_size == 3
    (place.credentials / "syncer_page_size").unlink()
    assert place.load().page_size == 4
    place.file.unlink()
    assert place.load().page_size == 1000


def test_an_empty_variable_is_unset(place: Place) -> None:
    """An empty variable, and an empty credential file, leave the layers below in force."""
    place.file.write_text('page_size = 4\nzenlayer_token = "tok"\n')
    place.credential("syncer_page_size", " \n")
    settings = place.load(SYNCER_PAGE_SIZE="", SYNCER_MAX_RATE="", ZENLAYER_TOKEN="")
    assert (settings.page_size, settings.api.max_rate) == (4, None)
    assert isinstance(settings.api.credentials, Token)


def test_a_file_is_found_in_the_home_but_never_in_the_working_directory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/.config/syncer/syncer.toml is read, XDG_CONFIG_HOME moves it, ./syncer.toml is not."""
    work = place.home / "work"
    work.mkdir()
    (work / "syncer.toml").write_text("page_size = 9\n")
    monkeypatch.chdir(work)
    assert place.load().page_size == 1000
    for folder, size in ((".config", 5), ("xdg", 6)):
        (place.home / folder / "syncer").mkdir(parents=True)
        (place.home / folder / "syncer" / "syncer.toml").write_text(f"page_size = {size}\n")
    assert place.load().page_size == 5
    assert place.load(XDG_CONFIG_HOME=str(place.home / "xdg")).page_size == 6


def test_a_file_may_write_values_in_toml(place: Place) -> None:
    """Numbers and lists need no quotes in the file."""
    place.file.write_text(
        'services = ["vm"]\nmax_rate = 2.5\nrun_timeout = "2m"\nguard_zone_count = 0\n'
        'guard_run_percent = "off"\n'
    )
    settings = place.load()
    assert (settings.services, settings.api.max_rate, settings.run_timeout) == (("vm",), 2.5, 120.0)
    assert settings.guard == Limits(zone_count=0, zone_percent=25, run_percent=None)


def test_where_each_value_came_from_is_told(place: Place) -> None:
    """A setting's origin is its layer; what is secret, or may be, is not shown."""
    place.file.write_text(f'page_size = 4\nzenlayer_access_key_secret = "{SECRET}"\n')
    place.credential("syncer_max_rate", "3\n")
    env = {
        "HOME": str(place.home),
        "SYNCER_CONFIG": str(place.file),
        "CREDENTIALS_DIRECTORY": str(place.credentials),
        "SYNCER_ACCOUNT": "mine",
        "SYNCER_DATABASE_URL": f"postgresql://u:{SECRET}@h/x",
        "ZENLAYER_ACCESS_KEY_ID": SECRET,
        "SSL_CERT_FILE": "/ca.pem",
    }
    loaded = load_with_faults({"services": "vm"}, env)
    assert () == loaded.faults
    given = {each.name: (each.value, each.origin) for each in loaded.shown}
    file, credentials = str(place.file), place.credentials
    assert given["SYNCER_SERVICES"] == ("vm", "--services")
    assert given["SYNCER_ACCOUNT"] == ("mine", "environment")
    assert given["SYNCER_MAX_RATE"] == ("3", str(credentials / "syncer_max_rate"))
    assert given["SYNCER_PAGE_SIZE"] == ("4", file)
    assert given["SYNCER_RUN_TIMEOUT"] == ("15m", None)
    assert given["ZENLAYER_ACCESS_KEY_SECRET"] == ("***", file)
    assert given["ZENLAYER_ACCESS_KEY_ID"] == ("s3cr...", "environment")
    assert given["SYNCER_DATABASE_URL"] == ("postgresql://u:***@h/x", "environment")
    assert given["SSL_CERT_FILE"] == ("/ca.pem", "environment")
    assert SECRET not in repr(loaded.shown)
    assert {e.name for e in loaded.shown if e.secret} == {
        "ZENLAYER_ACCESS_KEY_SECRET",
        "SYNCER_DATABASE_URL",
    }


def test_a_faulty_value_is_in_doubt_and_a_lost_file_puts_defaults_in_doubt(place: Place) -> None:
    """Whoever goes on in spite of faults knows which settings are not what was meant."""
    env = {"HOME": str(place.home), "SYNCER_RUN_TIMEOUT": "soon", "SYNCER_PAGE_SIZE": "5"}
    loaded = load_with_faults({}, env)
    assert loaded.settings.run_timeout == 900.0
    assert loaded.first_faulty("SYNCER_ACCOUNT", "SYNCER_RUN_TIMEOUT") == "SYNCER_RUN_TIMEOUT"
    assert loaded.first_faulty("SYNCER_ACCOUNT", "SYNCER_PAGE_SIZE") is None
    loaded = load_with_faults({}, env | {"SYNCER_CONFIG": str(place.home / "none.toml")})
    assert loaded.first_faulty("SYNCER_ACCOUNT") == "the settings file"
    assert loaded.first_faulty("SYNCER_PAGE_SIZE") is None


# --- faults


def test_every_fault_is_reported_at_once(place: Place) -> None:
    """Each layer's faults stand together, and each names where its value came from."""
    place.file.write_text('page_size = 0\nnonsense = 1\nother = "x"\n')
    place.credential("syncer_max_rate", "fast")
    faults = place.faults(
        {"max_concurrency": "many"},
        SYNCER_REQUEST_TIMEOUT="soon",
        ZENLAYER_ACCESS_KEY_ID="AKID1",
    )
    assert len(faults) == 7
    said = "\n".join(faults)
    assert "--max-concurrency: 'many' is not a whole number from 1 to 1000" in faults
    assert f"{place.file}: page_size: '0' is not a whole number from 1 to 1000" in faults
    assert f"{place.credentials / 'syncer_max_rate'}: 'fast' is not a rate" in said
    assert "SYNCER_REQUEST_TIMEOUT: 'soon' is not a duration" in said
    assert "ZENLAYER_ACCESS_KEY_ID is set but ZENLAYER_ACCESS_KEY_SECRET is not" in said


def test_an_unknown_option_of_the_file_is_named(place: Place) -> None:
    """A misspelt option is an error that names it, its file and the options there are."""
    place.file.write_text("page_sise = 5\n")
    [fault] = place.faults()
    assert fault.startswith(f"{place.file}: unknown option 'page_sise'; known are ")
    assert "page_size" in fault


@pytest.mark.parametrize(
    ("content", "said"), [(b"page_size = ", "is not TOML"), (b"\xff", "cannot be read")]
)
def test_a_file_that_cannot_be_read_is_named(place: Place, content: bytes, said: str) -> None:
    """Broken TOML or broken text stops the program and names the file."""
    place.file.write_bytes(content)
    [fault] = place.faults()
    assert fault.startswith(f"{place.file}: {said}")


def test_a_file_that_was_asked_for_must_be_there(place: Place) -> None:
    """SYNCER_CONFIG naming no file is a fault, not a silent default."""
    assert place.faults(SYNCER_CONFIG="/no/such/file") == (
        "SYNCER_CONFIG: there is no file /no/such/file",
    )


def test_a_credential_that_cannot_be_read_is_named(place: Place) -> None:
    """A broken credential is a fault; it is not passed over for the layer below."""
    place.credential("zenlayer_token", "")
    (place.credentials / "zenlayer_token").write_bytes(b"\xff\xfe")
    [fault] = place.faults(ZENLAYER_ACCESS_KEY_ID="")
    assert fault.startswith(f"{place.credentials / 'zenlayer_token'}: cannot be read")


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("SYNCER_MAX_CONCURRENCY", ["0", "1001", "-1", "1.5", "x"], ["1", "1000", " 16 "]),
        ("SYNCER_PAGE_SIZE", ["0", "1001"], ["1", "1000"]),
        ("SYNCER_MAX_RATE", ["0", "-1", "nan", "inf", "1e6", "x"], ["0.5", "10", "none", "off"]),
        ("SYNCER_REQUEST_TIMEOUT", ["0", "-1", "1y", "s", "1 2"], ["0.5", "90s", "1m"]),
        ("SYNCER_RUN_TIMEOUT", ["0s", "soon"], ["15m", "2h"]),
        ("SYNCER_GUARD_ZONE_COUNT", ["-1", "x", "1.5"], ["0", "off", "OFF", "1000000"]),
        ("SYNCER_GUARD_ZONE_PERCENT", ["101", "-1", "25%"], ["0", "100", "off"]),
        ("SYNCER_GUARD_RUN_PERCENT", ["101"], ["0", "100", "off"]),
        ("SYNCER_SERVICES", ["ec2", "vm,ec2", ","], ["vm", "vm,vm", " vm "]),
        ("SYNCER_ACCOUNT", ["a b", "-a", "é", "a" * 64, "a/b"], ["a", "team-1.x_y@z", "a" * 63]),
        ("SYNCER_KEEP", ["400", "23h", "0d", "11w1d", "4000d"], ["1d", "400d", "none", "off"]),
        ("SYNCER_EVERY", ["0", "0.5", "-1", "soon"], ["1", "15m", "2d"]),
        ("SYNCER_HTTP", ["nowhere", "127.0.0.1:²", ":70000"], ["off", "[::1]:0", "9464"]),
        ("SYNCER_LOG_FORMAT", ["xml"], ["json", "JSON", "console", "auto"]),
        ("SYNCER_LOG_LEVEL", ["loud"], ["debug", "ERROR"]),
        ("SYNCER_DATABASE_URL", ["mysql://h/d", "h/d", "x"], ["postgres:///d", "postgresql://h"]),
    ],
)
def test_a_value_out_of_range_is_named(
    place: Place, name: str, bad: list[str], good: list[str]
) -> None:
    """Each setting takes what is documented, and says where anything else came from."""
    for value in bad:
        [fault] = place.faults(**{name: value})
        assert fault.startswith(f"{name}: "), value
    for value in good:
        place.load(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("SYNCER_RUN_TIMEOUT", "soon", "write 90, 90s, 15m"),
        ("SYNCER_RUN_TIMEOUT", "999999999d", "ten years"),
        ("SYNCER_DATABASE_URL", f"mysql://u:{SECRET}@h/x", "write postgresql://"),
        ("SYNCER_DATABASE_URL", f"postgresql://u:12345/{SECRET}@127.0.0.1/x", "percent-encoded"),
        ("ZENLAYER_ENDPOINT", "http://example.com", "use https"),
        ("ZENLAYER_ENDPOINT", "https://a..b", "is not a URL"),
    ],
)
def test_a_fault_says_what_to_write(place: Place, name: str, value: str, advice: str) -> None:
    """The name of the setting and what it takes, without a secret that the value holds."""
    [fault] = place.faults(**{name: value})
    assert name in fault
    assert advice in fault
    assert SECRET not in fault


def test_a_proxy_that_is_no_url_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named, its value is not repeated."""
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"u:{SECRET}@127.0.0.1:9")
    [fault] = place.faults(ZENLAYER_ENDPOINT="https://x.invalid")
    assert fault == "HTTPS_PROXY: is not a URL: write http://host:port"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("12h", 43200),
        ("2d", 172800),
        ("1w", 604800),
        ("0", 0),
        ("1.5m", 90),
        (" 2 d ", 172800),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A number of seconds, or a number with one unit."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1h30m", "1M", "1 2", "1e3", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused in words that show what to write."""
    with pytest.raises(ValueError, match="write 90, 90s, 15m, 12h or 2d"):
        duration(text)


# --- the endpoint and the database


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_an_endpoint_is_https_or_this_machine(place: Place, text: str, endpoint: str) -> None:
    """Https anywhere, plain http to loopback."""
    assert place.load(ZENLAYER_ENDPOINT=text).api.endpoint == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://example.com#localhost",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::2]",
        "https://user@example.com",
        "https://example.com?x=1",
        "ftp://localhost",
        "console.zenlayer.com",
        "https://",
        "https://example.com:port",
        "https://[::1",
    ],
)
def test_credentials_go_nowhere_else(place: Place, text: str) -> None:
    """Plain http to anything but loopback, and what is no plain base URL, is refused."""
    [fault] = place.faults(ZENLAYER_ENDPOINT=text)
    assert fault.startswith("ZENLAYER_ENDPOINT: ")


def test_the_database_is_a_url_or_libpq_or_embedded(place: Place) -> None:
    """A URL wins over PG* variables, which win over the embedded server."""
    url = "postgresql://u:p@h/d"
    given_url = place.load(SYNCER_DATABASE_URL=url, PGHOST="h").database
    assert given_url.url is not None
    assert given_url.url.reveal() == url
    assert (given_url.libpq, given_url.embedded) == (False, False)
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


def test_the_proxy_of_the_environment_is_used_but_not_for_loopback(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY and NO_PROXY are honoured; a call to this machine goes straight."""
    for name in ("https_proxy", "http_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:{SECRET}@proxy:3128")
    settings = place.load()
    assert settings.api.proxy is not None
    assert settings.api.proxy.reveal() == f"http://u:{SECRET}@proxy:3128"
    assert SECRET not in repr(settings)
    assert place.load(ZENLAYER_ENDPOINT="https://localhost:1").api.proxy is None
    monkeypatch.setenv("NO_PROXY", "console.zenlayer.com")
    assert place.load().api.proxy is None


# --- credentials


def test_a_key_pair_is_read_by_the_names_of_the_command_line_tool(place: Place) -> None:
    """The CLI's names make a key pair, trimmed as the SDK trims them."""
    pair = place.load(**{name: f" {value}\n" for name, value in KEYS.items()}).api.credentials
    assert isinstance(pair, KeyPair)
    assert (pair.key_id, pair.secret.reveal()) == ("AKID1", SECRET)


def test_the_names_of_terraform_are_read_too(place: Place) -> None:
    """Terraform's names stand in where the CLI's are unset, and yield where they are set."""
    terraform = {
        "ZENLAYERCLOUD_ACCESS_KEY_ID": "TF",
        "ZENLAYERCLOUD_ACCESS_KEY_PASSWORD": "tf-secret",
    }
    pair = place.load(**terraform).api.credentials
    assert isinstance(pair, KeyPair)
    assert (pair.key_id, pair.secret.reveal()) == ("TF", "tf-secret")
    pair = place.load(**terraform, **KEYS).api.credentials
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
    token = place.load(**KEYS).api.credentials
    assert isinstance(token, Token)
    assert token.token.reveal() == "tok"


def test_credentials_may_all_come_from_the_credentials_directory(place: Place) -> None:
    """Systemd's LoadCredential gives one file a value, named like its variable in lower case."""
    place.credential("zenlayer_access_key_id", "AKID2\n")
    place.credential("zenlayer_access_key_secret", f"{SECRET}\n")
    place.credential("syncer_database_url", "postgresql://u:p@h/d\n")
    settings = place.load()
    assert isinstance(settings.api.credentials, KeyPair)
    assert (settings.api.credentials.key_id, settings.api.credentials.secret.reveal()) == (
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
    assert isinstance(place.load(**KEYS).require_credentials(), KeyPair)


@pytest.mark.parametrize("value", ["two\nlines", "a\x00b", "tab\there", "bell\x07"])
@pytest.mark.parametrize(
    "name", ["ZENLAYER_TOKEN", "ZENLAYER_ACCESS_KEY_ID", "ZENLAYER_ACCESS_KEY_SECRET"]
)
def test_a_key_that_no_header_can_carry_is_refused(place: Place, name: str, value: str) -> None:
    """Line ends and control characters are refused, and the value is not repeated."""
    said = "\n".join(place.faults(**{**KEYS, name: value}))
    assert f"{name}: holds characters that no key has" in said
    assert value not in said


# --- secrets


def test_a_secret_never_shows(place: Place) -> None:
    """Not in a repr, a text, a format, a pickle or JSON of the settings, from any layer."""
    place.credential("zenlayer_access_key_secret", SECRET)
    settings = place.load(
        ZENLAYER_ACCESS_KEY_ID="AKID1", SYNCER_DATABASE_URL=f"postgresql://u:{SECRET}@h/d"
    )
    secret = settings.require_credentials()
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
    {"SYNCER_DATABASE_URL": f"postgresql://u:{SECRET}#x@h/d"},
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


def test_a_secret_can_be_revealed_where_it_is_used() -> None:
    """The one way to the text of a secret is to ask for it."""
    assert Secret("x").reveal() == "x"
    assert parsers.secret(" x\n").reveal() == "x"


# --- traces


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "no"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_asked_for_by_the_standard_variables(
    environment: dict[str, str], wanted: bool
) -> None:
    """An endpoint asks for traces, OTEL_SDK_DISABLED and OTEL_TRACES_EXPORTER=none do not."""
    assert wanted == parsers.traces(environment)
