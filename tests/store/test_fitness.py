"""Whether a database is fit: encodings, sequences, connections, clocks; whoever asks."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.core.errors import ConfigError
from syncer.embedded import EmbeddedPostgres
from syncer.simulator import World
from syncer.store import fitness
from syncer.store.connection import Server, reading_transaction, sql
from syncer.store.migrate import as_sql, upgrade
from syncer.sync.options import Tuning
from tests.support import Done, assert_exact, logged, rows

FACTS = fitness.ServerFacts(
    pid=1, encoding="UTF8", clock=1000.0, extension="1.7", role="r", database="d",
    superuser=False, role_limit=None, database_limit=None, server_limit=97,
    role_used=1, database_used=1, server_used=1, earliest=999.9, latest=1000.1,
)  # fmt: skip


def problems(**values: Any) -> list[tuple[str, bool]]:
    facts = msgspec.structs.replace(FACTS, **values)
    return [(each.check, each.fatal) for each in fitness.judge_server(facts)]


@pytest.fixture
async def encoded(postgres: EmbeddedPostgres) -> AsyncIterator[Callable[[str], Any]]:
    """Make a database in an encoding; its URL."""
    name = f"encoded_{os.getpid()}"
    async with Server(postgres.dsn("postgres")).session() as admin:

        async def make(encoding: str) -> str:
            await admin.execute(
                f"create database {name} encoding '{encoding}' template template0 "
                "lc_collate 'C' lc_ctype 'C'"
            )
            return postgres.dsn(name)

        yield make
        await admin.execute(f"drop database if exists {name} with (force)")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_is_not_in_utf8_is_refused(
    encoding: str, encoded: Any, syncer: Any
) -> None:
    """Before the schema is made, and where an older version made it; the doctor says so too."""
    url = await encoded(encoding)
    says = f"encoded in {encoding}, which cannot hold every name of the API"

    async def refused(command: str) -> None:
        done: Done = await syncer(*command.split(), SYNCER_DATABASE_URL=url, SYNCER_LOG_LEVEL="")
        assert (2, 1) == (done.code, len(done.err.splitlines())), done.err
        assert says in done.err
        assert "create database inventory encoding 'UTF8' template template0" in done.err

    await refused("db upgrade")
    async with Server(url).session() as connection:
        assert None is await connection.fetchval("select to_regnamespace('syncer_store')::text")
        await connection.execute(as_sql())
    await refused("db upgrade")
    await refused("sync")
    done = await syncer("doctor", "-o", "ndjson", SYNCER_DATABASE_URL=url)
    (found,) = [row for row in rows(done) if row["check"] == "encoding"]
    assert ("failed", True) == (found["status"], says in found["message"])
    assert 0 == (await syncer("images", SYNCER_DATABASE_URL=url)).code


async def test_sql_ascii_takes_bytes_for_characters(encoded: Any) -> None:
    """Why it is refused, though all that is stored comes back: a ? of a glob is one character."""
    utf8 = "select 'Ä' ~ '^.$'"
    async with Server(await encoded("SQL_ASCII")).session() as connection:
        assert not await connection.fetchval(utf8)


async def test_sequences_that_are_behind_are_moved(
    sync: Any, db: Any, world: World, url: str
) -> None:
    """After a copy of the data alone a run gets a number of its own, and says what it did."""
    await sync()
    for (sequence,) in await db.fetch(SEQUENCES):
        await db.execute(f"select setval('{sequence}', 1, false)")
    world.add_zone("NEW-A", images=3)
    with logged("json") as text:
        assert 0 == (await sync()).exit_code
    assert 2 == text.getvalue().count("sequence.moved"), text.getvalue()  # runs and zones are used
    assert 2 == await db.fetchval("select max(run_id) from syncer.runs")
    await assert_exact(db, world)
    await db.execute("select setval('syncer_store.zones_zone_key_seq', 1, false)")
    await upgrade(Server(url))
    assert 7 == await db.fetchval("select last_value from syncer_store.zones_zone_key_seq")


SEQUENCES = """
    select pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname)
    from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'syncer_store' and c.relkind in ('r', 'p') and not a.attisdropped
      and (a.attidentity <> '' or pg_get_serial_sequence(
          format('%I.%I', n.nspname, c.relname), a.attname) is not null)"""


async def test_every_sequence_of_the_store_is_looked_at(db: Any) -> None:
    """A table with a numbered key that is added is added there."""
    there = {row[0] for row in await db.fetch(SEQUENCES)}
    looked_at = {row["sequence"] for row in await db.fetch(sql("fitness/sequences"))}
    assert there == looked_at
    locked = set(re.findall(r"syncer_store\.(\w+)", sql("fitness/sequences_lock")))
    assert locked == {re.match(r"syncer_store\.(\w+?)_(run|zone|app|base)", s)[1] for s in there}  # type: ignore[index]


async def test_a_role_that_may_not_move_a_sequence_names_the_statement(
    sync: Any, db: Any, url: str
) -> None:
    """Exit 2, with what the owner is to run; then the run goes on."""
    await sync()
    await db.execute(sql("schema/roles"))
    role = f"mover_{os.getpid()}"
    await db.execute(f"create role {role} login in role syncer_writer")
    try:
        await db.execute("select setval('syncer_store.runs_run_id_seq', 1, false)")
        login = url.replace("//syncer@", f"//{role}@")
        with pytest.raises(ConfigError) as caught:
            await sync(SYNCER_DATABASE_URL=login)
        found = re.search(r"as the owner: (select setval\(.*\))$", str(caught.value))
        assert found, caught.value
        await db.execute(found[1])
        assert 0 == (await sync(SYNCER_DATABASE_URL=login)).exit_code
    finally:
        await db.execute(f"drop owned by {role}; drop role {role}")


@given(st.integers(1, 9), st.none() | st.integers(0, 9), st.booleans())
def test_a_sequence_is_behind_where_its_next_number_is_in_use(
    newest: int, last: int | None, movable: bool
) -> None:
    """One that may not be looked at is left alone."""
    each = fitness.IdSequence(sequence="s", newest=newest, last_given=last, movable=movable)
    expected = last is not None and last + 1 <= newest
    assert expected == each.behind
    assert [not movable] * expected == [p.fatal for p in fitness.judge_sequences([each])]


def test_limits_of_connections_leave_room_for_a_run() -> None:
    """One is never enough, two are slow; superusers have those of the server alone."""
    assert Tuning().writers + 1 == fitness.CONNECTIONS
    for whose in ("role", "database", "server"):
        limit, used = f"{whose}_limit", f"{whose}_used"
        assert [("connections", True)] == problems(**{limit: 1})
        assert [("connections", False)] == problems(**{limit: 2})
        assert [] == problems(**{limit: 3})
        assert [] == problems(**{limit: 9, used: 7})
        assert [("connections", False)] == problems(**{limit: 9, used: 8})
    assert [] == problems(role_limit=1, database_limit=1, superuser=True)
    assert [("connections", True)] == problems(server_limit=1, superuser=True)


async def test_a_role_with_one_connection_is_refused_at_once(sync: Any, db: Any, url: str) -> None:
    """It would wait for the second until the deadline of the run."""
    role = f"narrow_{os.getpid()}"
    await db.execute(sql("schema/roles"))
    await db.execute(f"create role {role} login in role syncer_writer connection limit 1")
    try:
        with pytest.raises(ConfigError, match=f"role {role} may have 1 connection, a run uses 3"):
            await sync(SYNCER_DATABASE_URL=url.replace("//syncer@", f"//{role}@"))
        assert 0 == await db.fetchval("select count(*) from syncer.runs")
    finally:
        await db.execute(f"drop owned by {role}; drop role {role}")


def test_clocks_that_differ_are_noticed() -> None:
    """By more than five seconds, either way, whatever the question took."""
    assert [] == problems(clock=1005.0)
    assert [] == problems(clock=995.0)
    assert [("database_clock", False)] == problems(clock=1005.2)
    assert [("database_clock", False)] == problems(clock=994.8)
    assert [] == problems(clock=1009.0, latest=1010.0)
    ahead, behind = (
        fitness.judge_server(msgspec.structs.replace(FACTS, clock=clock))[0].message
        for clock in (11_800.1, 899.9)
    )
    assert "its clock is 10800 s ahead of that of this host" in ahead
    assert "its clock is 100 s behind that of this host" in behind


async def test_a_run_warns_of_what_is_not_fatal(sync: Any, db: Any, url: str) -> None:
    """A database with room for two connections: the run ends well, and says what would help."""
    name = urlsplit(url).path[1:]
    role = f"slow_{os.getpid()}"
    await db.execute(sql("schema/roles"))
    await db.execute(f"create role {role} login in role syncer_writer connection limit 2")
    try:
        with logged("json") as text:
            report = await sync(SYNCER_DATABASE_URL=url.replace("//syncer@", f"//{role}@"))
        assert (0, 1) == (report.exit_code, text.getvalue().count("database.unfit")), name
        assert "may have 2 connections" in text.getvalue()
    finally:
        await db.execute(f"drop owned by {role}; drop role {role}")


async def test_a_run_asks_in_one_statement(sync: Any, url: str) -> None:
    """What the three looks see is what one statement sees."""
    async with Server(url).session() as connection:
        row = await connection.fetchrow(fitness._everything())
        assert row is not None
        rights = fitness.rights_of(dict(await connection.fetchrow(sql("fitness/rights")) or {}))
        assert rights == msgspec.json.decode(row["rights"], type=fitness.Rights)
        assert 4 == len(msgspec.json.decode(row["sequences"], type=list[fitness.IdSequence]))
        assert row["pid"] == connection.get_server_pid()


HOSTILE = {
    "default_transaction_isolation": "serializable",
    "search_path": "public, syncer_store",
    "timezone": "America/St_Johns",
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "statement_timeout": "1s",
    "lock_timeout": "1s",
    "idle_session_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "client_encoding": "LATIN1",
}


async def test_what_we_lean_on_is_pinned_whatever_the_defaults_are(url: str, db: Any) -> None:
    """In each kind of session, and in a reading transaction; the name of the session as given."""
    name = urlsplit(url).path[1:]
    for setting, value in HOSTILE.items():
        await db.execute(f"alter database {name} set {setting} = {value!r}"
                         if setting != "search_path" else
                         f"alter database {name} set search_path = {value}")  # fmt: skip
    server, odd = Server(url), "o'dd \\ name"
    show = "select name, current_setting(name) as value from unnest($1::text[]) as s (name)"
    names = [*HOSTILE, "application_name"]
    idle = {"idle_in_transaction_session_timeout": "1min"}
    later = {"transaction_timeout": "0"}

    async def settings(connection: Any) -> dict[str, str]:
        asked = list(names)
        if connection.get_server_version().major >= 17:
            asked += later
        return {row["name"]: row["value"] for row in await connection.fetch(show, asked)}

    def expected(connection: Any, **others: str) -> dict[str, str]:
        pinned = {name: "0" if name.endswith("timeout") else HOSTILE[name] for name in HOSTILE}
        pinned |= {
            "default_transaction_isolation": "read committed", "search_path": '""',
            "timezone": "UTC", "datestyle": "ISO, MDY", "intervalstyle": "postgres",
            "bytea_output": "hex", "extra_float_digits": "1", "client_encoding": "UTF8",
            "standard_conforming_strings": "on", "application_name": odd,
        }  # fmt: skip
        if connection.get_server_version().major >= 17:
            pinned |= later
        return pinned | others

    async with server.session(name=odd) as connection:
        assert expected(connection, **idle) == await settings(connection)
    async with server.pool(size=1, name=odd) as pool, pool.acquire() as pooled:
        assert expected(pooled, **idle) == await settings(pooled)
    async with (
        server.reading(name=odd) as connection,
        reading_transaction(connection, statement=7),
    ):
        assert expected(connection, statement_timeout="7s") == await settings(connection)
        assert "repeatable read" == await connection.fetchval("show transaction_isolation")


def test_settings_are_pinned_after_connecting() -> None:
    """No startup parameter but the name, which every pooler takes."""
    source = Path(fitness.__file__).with_name("connection.py").read_text()
    assert 1 == source.count("server_settings=")
