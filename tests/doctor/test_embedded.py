"""The embedded server: inspected, started for the checks, left as it was."""

# ruff: noqa: ASYNC240
# (these tests change folders between checks, and nothing else runs in their loop)

from __future__ import annotations

from pathlib import Path

from syncer.embedded import EmbeddedPostgres, find_binaries
from syncer.store.connection import Server
from syncer.store.migrate import upgrade
from tests.conftest import UNSAFE_AND_FAST
from tests.doctor.support import (
    OF_THE_DATABASE,
    RunChecks,
    of,
    only,
    problems,
    skipped_checks,
)


async def test_the_embedded_server_is_looked_at_and_left_as_it_was(
    check: RunChecks, data_home: Path, pg_bin: str | None
) -> None:
    """Not made yet: not made. Made: started, looked into, stopped again."""
    env = {
        "SYNCER_DATABASE_URL": "",
        "SYNCER_STATE_DIR": str(data_home),
        "SYNCER_PG_BIN": pg_bin or "",
    }
    home = data_home / "postgres"
    findings = await check(**env)
    assert [] == problems(findings)
    assert OF_THE_DATABASE == skipped_checks(findings)
    assert not home.exists()

    async with EmbeddedPostgres(home, pg_bin=pg_bin, settings=UNSAFE_AND_FAST) as server:
        await upgrade(Server(server.dsn()))
        assert f"in use (pid {server.running_pid})" in of(await check(**env), "embedded").message
    findings = await check(**env)
    assert [] == [found for found in findings if found.status != "ok"]
    assert "at rest" in of(findings, "embedded").message
    assert [] == list(home.glob("data-*/postmaster.pid"))

    (data,) = home.glob("data-*")
    data.rename(data.with_name("data-9"))
    findings = await check(**env)
    refused = "and no programs of that version" if pg_bin is None else "does not open"
    only(findings, "embedded", "failed", refused, "SYNCER_PG_BIN")
    data.with_name("data-9").rename(data.with_name("data-9.moved-20260101T000000Z"))
    findings = await check(**env)
    only(findings, "embedded", "failed", "is elsewhere", "set SYNCER_DATABASE_URL")
    data.with_name("data-9.moved-20260101T000000Z").rename(data)
    data.with_name("data-9").mkdir()
    ours = {"SYNCER_PG_BIN": str(find_binaries(pg_bin).directory)}
    finding = of(await check(**env | ours), "embedded")
    assert ("warning", True) == (
        finding.status,
        "another inventory, of PostgreSQL 9" in finding.message,
    )
    data_home.chmod(0o777)
    findings = await check(**env)
    only(findings, "embedded", "failed", f"{data_home} is not yours alone", "chmod go-w")
    data_home.chmod(0o700)
    findings = await check(**env | {"SYNCER_PG_BIN": ""})
    only(findings, "embedded", "failed", "holds inventories of PostgreSQL 9 and", "SYNCER_PG_BIN")
    findings = await check(**env | {"SYNCER_PG_BIN": str(data_home)})
    only(findings, "embedded", "failed", "has no program initdb", "set SYNCER_PG_BIN")
