"""Where the database is, by libpq's variables and files; what is set for nothing is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncer.config.settings import load_with_faults
from syncer.core import libpq
from tests.config.support import Place
from tests.support import STRANGER, as_user, needs_root

SECRET = "s3cr3t-Pl4nted"


def test_faults_name_the_place(place: Place) -> None:
    """A variable, a line of a service file, or the URL; the embedded database has none of them."""
    services = place.home / "services"
    services.write_text("[blank]\nhost = h\n[nested]\nservice=x\n[odd]\nhots=h\n[port]\nport=x\n")
    given = {"PGSERVICEFILE": str(services)}
    for service, fault in {
        "none": f"PGSERVICE: there is no service 'none' in {services}: correct the name, or say "
        "where the file is (PGSERVICEFILE)",
        "blank": f"PGSERVICE: {services}: line 2: write name=value, without blanks",
        "nested": f"PGSERVICE: {services}: line 4: a service cannot name another",
        "odd": f"PGSERVICE: {services}: line 6: there is no parameter 'hots' of libpq: did "
        "you mean host?",
        "port": f"PGSERVICE: port in {services}: 'x' is no port: it is a number from 1 to 65535",
    }.items():
        assert (fault,) == place.faults(**given, PGSERVICE=service)
        url = f"postgresql:///?service={service}"
        (in_url,) = place.faults(**given, SYNCER_DATABASE_URL=url)
        assert in_url == fault.replace("PGSERVICE:", "SYNCER_DATABASE_URL:")
    for name, value in (("PGPORT", "abc"), ("PGSSLMODE", "yes"), ("PGREQUIREAUTH", "none")):
        (fault,) = place.faults(PGHOST="h", **{name: value})
        assert fault.startswith(f"{name}: ")
        assert place.load(**{name: value} if name != "PGPORT" else {}).database.embedded
    (fault,) = place.faults(PGSERVICE="x", PGSERVICEFILE="/none")
    assert fault == "PGSERVICEFILE: there is no file /none"
    (fault,) = place.faults(PGSERVICE="x", PGSERVICEFILE=str(place.home))
    assert fault == f"PGSERVICE: {place.home} cannot be read: Is a directory"


def test_the_second_file_of_services(place: Place) -> None:
    """PGSYSCONFDIR's counts where the first has no such service."""
    (place.home / ".pg_service.conf").write_text("[other]\n")
    folder = place.home / "etc"
    folder.mkdir()
    (folder / "pg_service.conf").write_text("[it]\nhost=there\n")
    address = place.load(PGSERVICE="it", PGSYSCONFDIR=str(folder)).database.address
    assert address is not None
    assert "there" == address.hosts[0].name


@needs_root
def test_a_user_without_a_name_must_be_named() -> None:
    """As in a container, without a home as well: who is named somewhere needs no name here."""
    with as_user(STRANGER):
        for given in ({"PGHOST": "h"}, {"SYNCER_DATABASE_URL": "postgresql://h/d"}):
            (fault,) = load_with_faults({}, {"HOME": "/", **given}).faults
            assert "name the user, in the URL or as PGUSER: this user id has no name" in (
                fault.message
            )
        url = "postgresql://u@h/d"
        named = load_with_faults({}, {"HOME": "/", "SYNCER_DATABASE_URL": url})
        assert () == named.faults


@pytest.mark.parametrize("name", ["SYNCER_DATABASE_URL", "PGPASSWORD"])
def test_what_is_read_is_shown_without_passwords(place: Place, name: str) -> None:
    """Every variable that counts is among the settings that the doctor shows."""
    given = {"HOME": str(place.home), "PGHOST": "h", "PGSSLMODE": "require", "PGPASSWORD": SECRET}
    if name == "SYNCER_DATABASE_URL":
        given[name] = f"postgresql://u:{SECRET}@h"
    loaded = load_with_faults({}, given)
    shown = {each.name: each.value for each in loaded.shown if each.origin}
    assert {"PGHOST": "h", "PGSSLMODE": "require", "PGPASSWORD": "***"}.items() <= shown.items()
    assert SECRET not in repr(loaded)


def test_what_is_set_for_nothing_is_said(place: Place) -> None:
    """A misspelt variable is warned of, one that changes nothing is for the doctor to say."""
    given = {"HOME": str(place.home), "PGHSOT": "h", "PGAPPNAME": "x", "PGDATA": "/d", "PG_X": "1"}
    assert load_with_faults({}, given).unknown == load_with_faults({}, given).unread == ()
    loaded = load_with_faults({}, {**given, "PGPORT": "1"})
    assert [("PGHSOT", "PGHOST")] == [(each.name, each.nearest) for each in loaded.unknown]
    assert ["PGAPPNAME"] == [each.name for each in loaded.unread]
    assert "changes nothing here" in loaded.unread[0].advice


def test_every_variable_that_is_read_is_documented() -> None:
    """With the parameter that it is, in the table for operators."""
    text = (Path(__file__).parents[2] / "deploy/README.md").read_text()
    for name in (*libpq.VARIABLES, *libpq.VARIABLES.values(), *libpq.OTHERS):
        assert re.search(rf"`{name}\b", text), name


def test_every_variable_of_libpq_is_known() -> None:
    """Those that libpq itself lists are read, or said to mean nothing."""
    import psycopg.pq

    known = {*libpq.VARIABLES, *libpq.OTHERS, *libpq.UNREAD}
    options = psycopg.pq.Conninfo.get_defaults()
    assert {o.envvar.decode() for o in options if o.envvar} - known == set()
    for option in options:
        keyword = option.keyword.decode()
        value = "" if keyword == "service" else "1"
        try:
            libpq.read_url(f"postgresql://?{keyword}={value}")
        except ValueError as error:
            raise AssertionError(keyword) from error
