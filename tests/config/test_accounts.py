"""Accounts of the settings file: what each has, where its credentials stand, what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from syncer.config.accounts import Account
from syncer.config.settings import load_with_faults
from syncer.core.errors import ConfigError
from syncer.core.guard import Limits
from syncer.zenlayer.credentials import Token
from tests.config.support import KEYS, SECRET, Place

README = Path(__file__).parents[2] / "deploy/README.md"
KEY = 'access_key_id = "K-{0}"\naccess_key_secret = "s3cr3t-{0}"\n'


def tables(place: Place, text: str) -> None:
    """Write a settings file that nobody else may read."""
    place.file.write_text(text)
    place.file.chmod(0o600)


def profiles(place: Place, mode: int = 0o600, **found: object) -> Path:
    """Write the file of the official command line tool."""
    path = place.home / ".zenlayer" / "credentials.json"
    path.parent.mkdir()
    path.write_text(json.dumps(found))
    path.chmod(mode)
    return path


def crawling(place: Place, account: str | None = None, /, **environment: str) -> tuple[str, ...]:
    """Every fault that a crawl is refused for."""
    given = {"HOME": str(place.home), "SYNCER_CONFIG": str(place.file), **environment}
    if place.credentials.exists():
        given["CREDENTIALS_DIRECTORY"] = str(place.credentials)
    try:
        load_with_faults({"account": account}, given).checked(crawling=True)
    except ConfigError as error:
        return error.faults
    return ()


def key_of(account: Account) -> tuple[str, str]:
    credentials = account.api.credentials
    if isinstance(credentials, Token):
        return ("token", credentials.token.reveal())
    assert credentials is not None
    return (credentials.key_id, credentials.secret.reveal())


def test_each_table_is_an_account_and_what_stands_outside_are_defaults(place: Place) -> None:
    """Flag > table > environment and all else; one table changes nothing for another."""
    tables(
        place,
        'max_rate = 5\nevery = "1h"\nguard_zone_count = 7\n'
        f"[accounts.one]\n{KEY.format(1)}"
        'endpoint = "https://one.example"\nmax_rate = 2\nmax_concurrency = 3\npage_size = 10\n'
        'request_timeout = "9s"\nrun_timeout = "8m"\nguard_zone_count = "off"\n'
        'guard_zone_percent = 1\nguard_run_percent = 2\nremoval_looks = 3\nevery = "5m"\n'
        'keep = "400d"\nservices = ["vm"]\n'
        f"[accounts.two]\n{KEY.format(2)}",
    )
    one, two = place.load({"page_size": 20}, SYNCER_MAX_CONCURRENCY="4").accounts
    assert ("one", "two") == (one.name, two.name)
    assert ("https://one.example", 3, 2.0, 9.0) == (
        one.api.endpoint,
        one.api.max_concurrency,
        one.api.max_rate,
        one.api.request_timeout,
    )
    assert Limits(zone_count=None, zone_percent=1, run_percent=2, removal_looks=3) == one.guard
    assert (20, 480.0, 300.0, 400 * 86400.0) == (
        one.page_size,
        one.run_timeout,
        one.every,
        one.keep,
    )
    assert (4, 5.0, 7, 3600.0, None) == (
        two.api.max_concurrency,
        two.api.max_rate,
        two.guard.zone_count,
        two.every,
        two.keep,
    )
    assert [("K-1", "s3cr3t-1"), ("K-2", "s3cr3t-2")] == [key_of(one), key_of(two)]


def test_credentials_outside_tables_are_one_more_account(place: Place) -> None:
    """Under SYNCER_ACCOUNT, which no table may be called then; alone they are the only one."""
    tables(place, f"[accounts.prod]\n{KEY.format(1)}")
    both = place.load(SYNCER_ACCOUNT="main", **KEYS).accounts
    assert [("main", ("AKID1", SECRET)), ("prod", ("K-1", "s3cr3t-1"))] == [
        (account.name, key_of(account)) for account in both
    ]
    assert ["prod"] == [account.name for account in place.load().accounts]
    [fault] = place.faults(SYNCER_ACCOUNT="prod", **KEYS)
    assert f"{place.file}: accounts.prod: credentials outside a table have this name" in fault
    (fault,) = crawling(place, SYNCER_ACCOUNT="main")
    assert "SYNCER_ACCOUNT: there are no credentials outside tables" in fault


def test_credentials_stand_in_the_table_a_file_a_folder_or_a_profile(place: Place) -> None:
    """Each account has its own, from where its table says, and none of another place."""
    tables(
        place,
        f"[accounts.here]\n{KEY.format(1)}"
        '[accounts.token]\ntoken = "tok-2"\n'
        '[accounts.files]\ncredential = "prod"\n'
        '[accounts.folder]\ncredential = "work"\n'
        '[accounts.inner]\ncredential = "in"\n'
        '[accounts.handed]\ncredential = "given"\n'
        '[accounts.profile]\nprofile = "ours"\n'
        '[accounts.bearer]\nprofile = "theirs"\n',
    )
    place.credential("prod_access_key_id", "K-3\n")
    place.credential("prod_access_key_secret", "s3cr3t-3\n")
    (place.credentials / "work").mkdir()
    (place.credentials / "work" / "token").write_text("tok-4\n")
    (place.credentials / "accounts" / "in").mkdir(parents=True)
    (place.credentials / "accounts" / "in" / "token").write_text("tok-7\n")
    place.credential("accounts_given_token", "tok-8\n")  # as systemd names those of a folder
    ours = {"access_key_id": "K-5", "access_key_secret": "s3cr3t-5"}
    profiles(place, ours=ours, theirs={"token": "tok-6"}, default={"token": "unread"})
    settings = place.load()
    assert () == settings.missing
    assert {
        "here": ("K-1", "s3cr3t-1"),
        "token": ("token", "tok-2"),
        "files": ("K-3", "s3cr3t-3"),
        "folder": ("token", "tok-4"),
        "inner": ("token", "tok-7"),
        "handed": ("token", "tok-8"),
        "profile": ("K-5", "s3cr3t-5"),
        "bearer": ("token", "tok-6"),
    } == {account.name: key_of(account) for account in settings.accounts}
    for secret in ("s3cr3t-1", "tok-2", "s3cr3t-3", "tok-4", "s3cr3t-5", "tok-6", "tok-7", "tok-8"):
        assert secret not in repr(settings)


def test_profiles_are_read_only_where_a_table_names_one(place: Place) -> None:
    """Nobody who never asked for it is crawled with the tool's credentials."""
    profiles(place, mode=0o666, default={"token": "tok"})
    tables(place, f"[accounts.one]\n{KEY.format(1)}")
    assert () == crawling(place)
    tables(place, "")
    (fault,) = crawling(place)
    assert fault.startswith("no credentials: ")


BAD = """
max_rat = 3
[accounts.none]
max_rate = 1
[accounts.half]
access_key_id = "K-1"
[accounts.both]
profile = "ours"
token = "tok-of-both"
[accounts.copy]
access_key_id = "K-9"
access_key_secret = "s3cr3t-9"
[accounts.again]
credential = "same"
[accounts.lost]
credential = "nowhere"
[accounts.gone]
profile = "missing"
[accounts.wrong]
token = "tok-of-wrong"
services = ["vm", "gpu"]
max_rat = 3
colour = "red"
page_size = 0
[accounts."a b"]
token = "tok-of-ab"
"""


def test_a_command_that_closes_a_file_is_quoted_for_the_shell(tmp_path: Path) -> None:
    """A home may have any name."""
    place = Place(tmp_path / "my $(home)")
    place.home.mkdir()
    place.file.write_text('[accounts.a]\ntoken = "t"\n[accounts.b]\nprofile = "p"\n')
    place.file.chmod(0o644)
    profiles(place, mode=0o644, p={"token": "u"})
    with pytest.raises(ConfigError) as caught:
        load_with_faults(
            environment={"HOME": str(place.home), "SYNCER_CONFIG": str(place.file)}
        ).checked(crawling=True)
    first, second = caught.value.faults
    assert first.endswith(f": chmod o-r '{place.file}'")
    assert second.endswith(f": chmod 600 '{place.home}/.zenlayer/credentials.json'")


def test_every_fault_of_the_file_is_reported_at_once_with_its_place(place: Place) -> None:
    """Those of reading too, which need no secret, are all that are refused for themselves."""
    place.file.write_text(BAD)
    place.file.chmod(0o644)
    place.credential("same_access_key_id", "K-9")
    place.credential("same_access_key_secret", "s3cr3t-9")
    path = profiles(place, mode=0o644, ours={"token": "x"})
    file = place.file
    settings = [
        f"{file}: accounts.both: holds credentials more than once: write one of",
        f"{file}: accounts.wrong.services: unknown service 'gpu': known are",
        f"{file}: accounts.wrong.page_size: '0' is not a whole number",
        f"{file}: accounts.wrong: unknown option 'max_rat'; did you mean max_rate?",
        f"{file}: accounts.wrong: unknown option 'colour'; known are access_key_id, ",
        f"{file}: accounts.a b: 'a b' is no account name",
        f"{file}: others may read it, and it holds secrets of both, copy, wrong, a b: chmod o-r",
        f"{file}: unknown option 'max_rat'; known are account, accounts, ",
    ]
    credentials = [
        f"{file}: accounts.none: has no credentials: write credential, profile, token, or",
        f"{file}: accounts.half: there is access_key_id but no access_key_secret",
        f"{file}: accounts.lost.credential: there are no credentials 'nowhere' in ",
        f"{path}: others may read it, and it holds secrets: chmod 600 {path}",
        f"{file}: accounts.gone.profile: there is no profile 'missing' in {path}; there are ours",
        f"{file}: accounts.again: account again has the key of account copy",
    ]
    reading, all_of_them = place.faults(), crawling(place)
    for faults, expected in ((reading, settings), (all_of_them, settings + credentials)):
        assert len(faults) == len(expected), faults
        for text in expected:
            assert 1 == sum(fault.startswith(text) for fault in faults), (text, faults)
    assert not [word for word in ("tok-of", "s3cr3t") if word in repr(all_of_them)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        (b"{", "is not JSON"),
        (b"[]", "there is no profile 'work'"),
        (b'{"work": 1}', "there is no profile 'work'"),
        (b'{"work": {}}', "neither a token nor an access key"),
        (b'{"work": {"access_key_id": "a b", "access_key_secret": "x"}}', "that no key has"),
    ],
)
def test_a_profile_that_cannot_be_used_is_named(
    place: Place, content: bytes | None, said: str
) -> None:
    """Only for those who crawl; what it holds is not repeated."""
    tables(place, '[accounts.one]\nprofile = "work"\n')
    if content is not None:
        profiles(place).write_bytes(content)
    assert ["one"] == [account.name for account in place.load().accounts]
    (fault,) = crawling(place)
    assert said in fault


def test_two_tables_of_one_name_and_what_is_no_table_are_faults(place: Place) -> None:
    tables(place, "[accounts.a]\n[accounts.a]\n")
    (fault,) = place.faults()
    assert "is not TOML" in fault
    tables(place, "accounts = 5\n")
    (fault,) = place.faults()
    assert f"{place.file}: accounts: write tables, such as [accounts.prod]" == fault
    tables(place, "[accounts]\none = 5\n")
    (fault,) = place.faults()
    assert f"{place.file}: accounts.one: is no table: write [accounts.one]" == fault


def test_accounts_are_chosen_by_their_names(place: Place) -> None:
    """They alone must have credentials; one that is not there is exit 2, with those that are."""
    tables(place, f'[accounts.one]\n{KEY.format(1)}[accounts.two]\nprofile = "none"\n')
    assert ["one"] == [account.name for account in place.load({"account": "one"}).accounts]
    assert () == crawling(place, "one")
    assert 1 == len(crawling(place)) == len(crawling(place, "two"))
    [fault] = place.faults({"account": "three"})
    assert "--account: there is no account 'three'; there are one, two" == fault
    assert (
        "--account: there is no account 'onne'; there are one, two; did you mean one?",
        "--account: there is no account 'x'; there are one, two",
    ) == place.faults({"account": ("two", "x", "onne")})
    both = place.load({"account": ("two", "one", "two")})
    assert (["one", "two"], ()) == ([account.name for account in both.accounts], both.others)
    assert ["one", "two"] == [account.name for account in place.load({"account": ()}).accounts]
    with pytest.raises(ConfigError, match="name one of the accounts one, two: --account NAME"):
        _ = place.load().account
    tables(place, "")
    assert "three" == place.load({"account": ("three",)}, **KEYS).account.name
    [fault] = place.faults({"account": ("one", "two")}, **KEYS)
    assert (
        "--account: 'one,two': credentials outside tables are one account: give one name" == fault
    )


def test_a_service_that_no_account_has_is_a_fault(place: Place) -> None:
    """A table that names its services is asked for those alone; without them it is left out."""
    tables(
        place,
        f'[accounts.one]\nservices = ["zec", "vm"]\n{KEY.format(1)}'
        f'[accounts.two]\nservices = ["vm"]\n{KEY.format(2)}'
        f"[accounts.three]\n{KEY.format(3)}",
    )

    def crawled(services: str | None, account: str | None = None) -> dict[str, tuple[str, ...]]:
        settings = place.load({"services": services, "account": account})
        return {each.name: each.services for each in settings.accounts}

    assert {"one": ("zec", "vm"), "two": ("vm",), "three": ("vm",)} == crawled(None)
    assert {"one": ("zec",), "three": ("zec",)} == crawled("zec")
    [fault] = place.faults({"services": "zec", "account": "two"})
    assert "--services: it is crawled for no account of two" == fault


def test_what_is_shown_of_accounts_has_no_secret(place: Place) -> None:
    """Each option has its origin; of a key the beginning is shown."""
    tables(
        place, '[accounts.one]\naccess_key_id = "KEY-NUMBER-1"\naccess_key_secret = "s3cr3t-1"\n'
    )
    given = {"HOME": str(place.home), "SYNCER_CONFIG": str(place.file)}
    shown = {each.name: each for each in load_with_faults({}, given).shown}
    assert "KEY-..." == shown["accounts.one.access_key_id"].value
    assert ("***", str(place.file)) == (
        shown["accounts.one.access_key_secret"].value,
        shown["accounts.one.access_key_secret"].origin,
    )


def test_the_documented_file_is_one_that_works(place: Place) -> None:
    """The tables of deploy/README.md, with their credentials beside them."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    tables(place, text.replace('"..."', '"KEY-OF-PARTNER"'))
    profiles(place, lab={"token": "tok"})
    place.credential("prod_token", "tok-of-prod")
    assert () == crawling(place)
    settings = place.load()
    assert ["prod", "lab", "partner"] == [account.name for account in settings.accounts]
    options = {
        *re.findall(r"`(\w+)`", README.read_text().split("A table takes ")[1].split(". ")[0])
    }
    tables(place, "[accounts.one]\nx = 1\n")
    (fault,) = place.faults()
    of_credentials = {"credential", "profile", "token", "access_key_id", "access_key_secret"}
    assert {*fault.partition("known are ")[2].split(", ")} == options | of_credentials
