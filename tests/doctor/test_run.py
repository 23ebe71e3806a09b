"""All checks together: where all is well, and where nothing answers."""

from __future__ import annotations

from typing import Any

from syncer.doctor.checks import Timing
from syncer.doctor.finding import (
    Finding,
)
from tests.doctor.support import (
    OF_THE_API,
    OF_THE_DATABASE,
    RunChecks,
    answering,
    of,
    problems,
    skipped_checks,
)


async def test_where_all_is_well_every_line_is_ok(check: RunChecks, sync: Any) -> None:
    """Before the first sync and after it, each thing was looked at and nothing is wrong."""
    findings: list[Finding] = []
    for message in ("none yet: syncer sync makes the first", "succeeded"):
        findings = await check()
        assert [] == [found for found in findings if found.status != "ok"]
        assert OF_THE_API | (OF_THE_DATABASE - {"workers"}) | {"spool"} <= {
            found.check for found in findings
        }
        assert message in of(findings, "runs").message
        await sync()
    assert "accepted: 6 zones of vm" == of(findings, "credentials").message
    assert "all 6 had a whole look" in of(findings, "zones").message


async def test_it_changes_nothing(check: RunChecks, sync: Any, db: Any) -> None:
    """Every row of every table is what it was, and no lock is left or waited for."""

    async def everything() -> dict[str, str]:
        tables = await db.fetch("select relname from pg_class where relkind = 'r' and "
                                "relnamespace = 'syncer_store'::regnamespace")  # fmt: skip
        return {
            table: await db.fetchval(
                f"select md5(string_agg(t::text, '|' order by t::text)) from syncer_store.{table} t"
            )
            for (table,) in tables
        }

    await sync()
    before = await everything()
    async with db.transaction():
        await db.execute("lock table syncer_store.zones in row exclusive mode")
        assert [] == problems(await check())
    assert before == await everything()
    assert not await db.fetch("select from pg_stat_activity where application_name ~ 'doctor'")


async def test_what_never_answers_is_given_up(
    check: RunChecks,
) -> None:
    """An endpoint and a database that say nothing cost their time only; the rest is shown."""
    async with answering(b"") as endpoint:
        address = endpoint.removeprefix("http://")
        findings = await check(
            ZENLAYER_ENDPOINT=endpoint,
            SYNCER_DATABASE_URL=f"postgresql://u@{address}/x?sslmode=disable",
            timing=Timing(api=0.2, connect=0.2),
        )
    for silent in ("endpoint", "database"):
        found = of(findings, silent)
        assert ("failed", True) == (found.status, "no answer in" in found.message)
    assert {"credentials"} | OF_THE_DATABASE - {"database"} == skipped_checks(findings)
    assert "ok" == of(findings, "spool").status
