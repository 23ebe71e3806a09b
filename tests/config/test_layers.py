"""Where a setting is looked for, where it was found, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.config.accounts import Account
from syncer.config.settings import Settings, load_with_faults
from syncer.core.guard import Limits
from syncer.zenlayer.credentials import KeyPair, Token
from tests.config.support import KEYS, SECRET, Place


def test_each_layer_goes_before_the_next(place: Place) -> None:
    """Flag > environment > credentials directory > file > default, each seen when those go."""
    flags, env = {"page_size": 1}, {"SYNCER_PAGE_SIZE": "2"}
    place.credential("syncer_page_size", "3\n")
    place.file.write_text("page_size = 4\n")
    assert place.load(flags, **env).account.page_size == 1
    assert place.load({"page_size": None}, **env).account.page_size == 2
    assert place.load().account.page_size == 3
    (place.credentials / "syncer_page_size").unlink()
    assert place.load().account.page_size == 4
    place.file.unlink()
    assert place.load().account.page_size == 1000


def test_an_empty_variable_is_unset(place: Place) -> None:
    """An empty variable, and an empty credential file, leave the layers below in force."""
    place.file.write_text('page_size = 4\nzenlayer_token = "tok"\n')
    place.credential("syncer_page_size", " \n")
    settings = place.load(SYNCER_PAGE_SIZE="", SYNCER_MAX_RATE="", ZENLAYER_TOKEN="")
    assert (settings.account.page_size, settings.account.api.max_rate) == (4, None)
    assert isinstance(settings.account.api.credentials, Token)


def test_a_file_is_found_in_the_home_but_never_in_the_working_directory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/.config/syncer/syncer.toml is read, XDG_CONFIG_HOME moves it, ./syncer.toml is not."""
    work = place.home / "work"
    work.mkdir()
    (work / "syncer.toml").write_text("page_size = 9\n")
    monkeypatch.chdir(work)
    assert place.load().account.page_size == 1000
    for folder, size in ((".config", 5), ("xdg", 6)):
        (place.home / folder / "syncer").mkdir(parents=True)
        (place.home / folder / "syncer" / "syncer.toml").write_text(f"page_size = {size}\n")
    assert place.load().account.page_size == 5
    assert place.load(XDG_CONFIG_HOME=str(place.home / "xdg")).account.page_size == 6


def test_a_file_may_write_values_in_toml(place: Place) -> None:
    """Numbers and lists need no quotes in the file."""
    place.file.write_text(
        'services = ["vm"]\nmax_rate = 2.5\nrun_timeout = "2m"\nguard_zone_count = 0\n'
        'guard_run_percent = "off"\n'
    )
    settings = place.load()
    assert (
        settings.account.services,
        settings.account.api.max_rate,
        settings.account.run_timeout,
    ) == (("vm",), 2.5, 120.0)
    assert settings.account.guard == Limits(zone_count=0, zone_percent=25, run_percent=None)


def test_where_each_value_came_from_is_shown(place: Place) -> None:
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


def test_files_may_begin_with_a_byte_order_mark(place: Place) -> None:
    """As editors and shells of Windows write them: settings and credentials."""
    place.file.write_text("\ufeffpage_size = 7\r\n")
    for name, value in KEYS.items():
        place.credential(name.lower(), f"\ufeff{value}\r\n")
    account = place.load().account
    assert 7 == account.page_size
    assert isinstance(account.api.credentials, KeyPair)
    assert KEYS["ZENLAYER_ACCESS_KEY_ID"] == account.api.credentials.key_id


def test_an_unknown_option_of_the_file_is_named(place: Place) -> None:
    """A misspelt option is an error that names it, its file and the options there are."""
    place.file.write_text("page_sise = 5\n")
    [fault] = place.faults()
    assert fault.startswith(f"{place.file}: unknown option 'page_sise'; known are ")
    assert fault.endswith("; did you mean page_size?")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"page_size = ", "is not TOML"),
        (b"\xff", "cannot be read: it is not UTF-8"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"#" * (1 << 20) + b"\n", "cannot be read: it is larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(place: Place, content: bytes, said: str) -> None:
    """Broken TOML or broken text stops the program and names the file."""
    place.file.write_bytes(content)
    [fault] = place.faults()
    assert fault.startswith(f"{place.file}: {said}")


def test_what_is_no_file_of_settings_is_named(place: Place, tmp_path: Path) -> None:
    """A folder; what never ends."""
    said = {str(tmp_path): "Is a directory", "/dev/zero": "it is larger than 1 MiB"}
    for path, why in said.items():
        assert place.faults(SYNCER_CONFIG=path) == (f"{path}: cannot be read: {why}",)


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


FAULTY_FLAGS = [
    ["sync", "--account", "a b"],
    ["sync", "--service", "gpu"],
    ["serve", "--every", "soon"],
    ["serve", "--http", "nowhere"],
    ["serve", "--account", "a b"],
    ["serve", "--service", "gpu"],
    ["prune", "--keep", "1"],
    ["prune", "--account", "a b"],
    ["doctor", "--account", "a b"],
]


@pytest.mark.parametrize("arguments", FAULTY_FLAGS, ids=" ".join)
def test_a_faulty_flag_goes_by_its_name_on_the_command_line(
    place: Place, arguments: list[str]
) -> None:
    """The error names the option as it was written, not the setting that it sets."""
    done = CliRunner().invoke(cli, arguments, env={"HOME": str(place.home)})
    assert 2 == done.exit_code
    assert done.stderr.startswith(f"syncer: {arguments[1]}: ")


def test_every_flag_that_sets_a_setting_is_tried_above() -> None:
    """An option that is named like a setting sets it; none is left out of the test above."""
    settings = {f.name for kind in (Settings, Account) for f in msgspec.structs.fields(kind)}
    settings.add("account")
    context = click.Context(cli)
    options = {
        (name, option.opts[0])
        for name in ("sync", "serve", "prune", "doctor")
        if (command := cli.get_command(context, name)) is not None
        for option in command.params
        if option.name in settings
    }
    assert options == {(name, option) for name, option, _ in FAULTY_FLAGS}


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
    monkeypatch.setenv("HTTPS_PROXY", f"socks5h://u:{SECRET}@127.0.0.1:9")
    [fault] = place.faults(ZENLAYER_ENDPOINT="https://x.invalid")
    assert fault == "HTTPS_PROXY: a SOCKS proxy is not spoken to: write http://host:port"
