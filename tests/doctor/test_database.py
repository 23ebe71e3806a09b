"""PostgreSQL: the server, the schema, the extension, what our role may do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from syncer.core.postgres import OLDEST_SERVER
from syncer.doctor import database
from syncer.doctor.checks import Timing
from syncer.store.connection import Server, sql
from syncer.store.fitness import Rights
from syncer.store.migrate import as_sql
from tests.doctor.support import (
    OF_THE_DATABASE,
    PLANTED,
    STORED,
    RunChecks,
    of,
    only,
    problems,
    skipped_checks,
)


async def test_a_database_that_is_not_there(check: RunChecks) -> None:
    """Nobody listens; or no such database: other advice."""
    url = f"postgresql://u:{PLANTED}@127.0.0.1:1/x"
    findings = await check(SYNCER_DATABASE_URL=url)
    only(
        findings,
        "database",
        "failed",
        "127.0.0.1:1 is not available",
        "correct SYNCER_DATABASE_URL",
    )
    assert OF_THE_DATABASE - {"database"} == skipped_checks(findings)


async def test_a_database_of_another_name(check: RunChecks, url: str) -> None:
    """The server refuses: what is wrong is the URL."""
    findings = await check(SYNCER_DATABASE_URL=url.replace("?", "_missing?"))
    only(findings, "database", "failed", "does not exist", "name of the database")


async def test_a_table_that_is_locked_does_not_hang_the_rest(check: RunChecks, db: Any) -> None:
    """A statement that waits is ended by PostgreSQL; the session goes on to the next."""
    async with db.transaction():
        await db.execute("lock table syncer_store.runs in access exclusive mode")
        findings = await check(timing=Timing(statement=0.1))
    assert {"runs", "history", "zones", "sequences", "time_line", "listing"} == {
        found.check for found in problems(findings)
    }
    assert "statement timeout" in of(findings, "runs").message
    assert "pg_locks" in (of(findings, "runs").advice or "")
    assert {"lock", "gone_zones", "withheld"} == skipped_checks(findings)
    assert "ok" == of(findings, "rate_limit").status


async def test_a_view_that_whoever_may_connect_can_lock(check: RunChecks, db: Any) -> None:
    """Of PostgreSQL's own, pg_settings alone: the doctor does not look there."""
    role = f"nobody_{os.getpid()}"
    await db.execute(f"create role {role}")
    try:
        async with db.transaction():
            await db.execute(f"set local role {role}")
            await db.execute("lock table pg_settings in access exclusive mode")
            assert [] == problems(await check(timing=Timing(statement=1.0)))
    finally:
        await db.execute(f"drop role {role}")


async def test_a_schema_that_is_not_ours(
    check: RunChecks, empty_url: str, db: Any, role: str
) -> None:
    """Never migrated, older, newer: what to run; the doctor runs it not."""
    findings = await check(SYNCER_DATABASE_URL=empty_url.replace("//syncer@", f"//{role}@"))
    only(findings, "schema", "failed", "was never migrated", "run: syncer db upgrade")
    assert STORED | {"privileges"} == skipped_checks(findings)
    assert "is there; syncer db upgrade installs it" in of(findings, "extension").message

    for revision, says, advises in (
        ("0001", "0001: this program needs", "run: syncer db upgrade"),
        ("9999", "9999: newer than this program", "install a newer syncer"),
    ):
        await db.execute("update syncer_store.alembic_version set version_num = $1", revision)
        findings = await check()
        only(findings, "schema", "failed", says, advises)
        assert STORED == skipped_checks(findings)


async def test_a_schema_as_it_was_at_first(check: RunChecks, empty_url: str, role: str) -> None:
    """A database of the first revision is reported, not tripped over."""
    async with Server(empty_url).session() as connection:
        await connection.execute(as_sql("0001"))
        await connection.execute(sql("schema/roles"))
        findings = await check(SYNCER_DATABASE_URL=empty_url.replace("//syncer@", f"//{role}@"))
        await connection.execute(f"drop owned by {role}")
    only(findings, "schema", "failed", "0001: this program needs", "syncer db upgrade")


async def test_a_role_that_may_not_write(check: RunChecks, db: Any, url: str) -> None:
    """A reader can look at what is stored, not sync; a stranger cannot even look."""
    reader = f"reading_{os.getpid()}"
    await db.execute(f"create role {reader} login")
    env = {"SYNCER_DATABASE_URL": url.replace("//syncer@", f"//{reader}@")}
    try:
        findings = await check(**env)
        assert {"schema", "privileges"} == {found.check for found in problems(findings)}
        assert "grant syncer_writer" in (of(findings, "schema").advice or "")
        await db.execute(f"grant syncer_reader to {reader}")
        findings = await check(**env)
        found = only(findings, "privileges", "failed", "cannot sync", f"syncer_writer to {reader}")
        assert "insert on account_schedule, accounts, approvals and" in found.message
        assert {"sequences", "keys"} == skipped_checks(findings)
    finally:
        await db.execute(f"drop role {reader}")


async def test_a_role_that_lacks_one_thing(check: RunChecks, db: Any) -> None:
    """What is lacking is named."""
    await db.execute("revoke delete on syncer_store.zone_digests from syncer_writer")
    only(
        await check(), "privileges", "failed", "it lacks delete on zone_digests", "syncer db roles"
    )


async def test_a_role_that_may_do_everything(check: RunChecks, url: str) -> None:
    """A superuser is more than a sync needs."""
    findings = await check(SYNCER_DATABASE_URL=url)
    only(findings, "privileges", "warning", "a superuser", "role syncer_writer")


async def test_a_database_that_cannot_be_written(check: RunChecks, db: Any, role: str) -> None:
    """Read-only by default: a sync would fail."""
    await db.execute(f"alter role {role} set default_transaction_read_only to on")
    findings = await check()
    only(findings, "database", "failed", "read-only", "default_transaction_read_only to off")


async def test_the_extension_is_gone(check: RunChecks, db: Any) -> None:
    """Without btree_gist nothing forbids versions that overlap."""
    await db.execute("drop extension btree_gist cascade")
    only(await check(), "extension", "failed", "btree_gist is gone", "restore the database")


@contextlib.asynccontextmanager
async def postgres_of_version(version: str) -> AsyncIterator[str]:
    """A server that lets everybody in and names its version; it answers no statement."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack(">I", len(body) + 4) + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(message(b"R", struct.pack(">I", 0)))
        writer.write(message(b"S", f"server_version\0{version}\0".encode()))
        writer.write(message(b"Z", b"I"))
        await reader.read(1)  # Terminate, after which the client waits to be closed
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable"


async def test_a_server_that_is_too_old(check: RunChecks) -> None:
    """Its version is named, and the oldest that will do."""
    async with postgres_of_version(f"{OLDEST_SERVER - 1}.9") as url:
        findings = await check(SYNCER_DATABASE_URL=url)
    message = f"PostgreSQL {OLDEST_SERVER - 1} at 127.0.0.1"
    advice = f"upgrade it to PostgreSQL {OLDEST_SERVER} or newer"
    found = only(findings, "database", "failed", message, advice)
    assert f"is too old: syncer needs {OLDEST_SERVER}" in found.message


def test_a_standby_cannot_be_written() -> None:
    """A sync needs the primary."""
    seen = database.ServerSeen(
        version="18.6 (Debian)", standby=True, read_only=False, role="r", database="d"
    )
    assert "failed" == database.judge_server(seen, "h", 0.1).status
    primary = database.judge_server(msgspec.structs.replace(seen, standby=False), "h", 0.1)
    assert ("ok", "PostgreSQL 18.6 at h, database d, role r (100 ms)") == (
        primary.status,
        primary.message,
    )


def test_the_embedded_server_upgrades_itself() -> None:
    """Its schema is nobody's to fix, but nothing can be looked at before."""
    for installed in (None, "0001"):
        assert "skipped" == database.judge_schema(installed, ["0001", "0002"], embedded=True).status
        assert "failed" == database.judge_schema(installed, ["0001", "0002"], embedded=False).status


def test_an_extension_that_cannot_be_had_is_reported_before_the_upgrade() -> None:
    """Where contrib is not installed the migration would fail."""
    missing = database.judge_extension(None)
    assert ("failed", True) == (missing.status, "postgresql-contrib" in (missing.advice or ""))


def test_an_odd_role_is_quoted_in_the_command() -> None:
    """What is advised can be run as it stands."""
    for role, quoted in (("plain_1", "plain_1"), ("my-role", '"my-role"'), ('A"b', '"A""b"')):
        seen = Rights(
            role=role, superuser=False, creates_roles=False, objects=1, lacks={"usage": ["x"]}
        )
        advice = database.judge_privileges(seen, embedded=False).advice
        assert advice is not None
        assert advice.endswith(f"grant syncer_writer to {quoted}")
