"""A run beside another in one process: nothing of the one is in the other."""

from __future__ import annotations

import json
from typing import Any

import anyio
import msgspec
import pytest

from syncer import secrets
from syncer.app import run_options
from syncer.config.settings import load
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.connection import Server
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from tests.support import logged, served, stored

SECRETS = {"north": "n0rth-key/secret", "south": "s0uth-key/secret"}
BOTH = {"call.retried", "removals.settled", "zone.written", "run.finished"}


class Pair:
    """Two accounts, each with a cloud of its own; they share zone ids, image ids and database."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.worlds = {
            "north": World.generate(seed=1, zones=6, images=20),
            "south": World.generate(seed=1, zones=6, images=20),
        }

    def simulator(self, account: str) -> Simulator:
        options = SimulatorOptions(access_keys={account: SECRETS[account]}, latency=0.02)
        return Simulator(self.worlds[account], options)

    async def run(self, simulators: dict[str, Simulator]) -> dict[str, Report]:
        """Do a run of each account, both at once."""
        reports: dict[str, Report] = {}

        async def one(account: str) -> None:
            settings = load(
                environment={
                    **self._environment,
                    "SYNCER_ACCOUNT": account,
                    "SYNCER_PAGE_SIZE": "7",
                    "ZENLAYER_ENDPOINT": simulators[account].endpoint,
                    "ZENLAYER_ACCESS_KEY_ID": account,
                    "ZENLAYER_ACCESS_KEY_SECRET": SECRETS[account],
                }
            )
            server = Server(self._environment["SYNCER_DATABASE_URL"])
            reports[account] = await run_once(run_options(settings.account), server, stop=Stop())

        async with anyio.create_task_group() as tasks:
            for account in simulators:
                tasks.start_soon(one, account)
        return reports


@pytest.fixture
def pair(environment: dict[str, str]) -> Pair:
    return Pair(environment)


async def test_two_accounts_at_once_are_both_exact_and_each_line_names_its_own(
    pair: Pair, db: Any
) -> None:
    """Clients, pages, writers and log lines of two runs that overlap are never mixed up."""
    async with pair.simulator("north") as north, pair.simulator("south") as south:
        simulators = {"north": north, "south": south}
        await pair.run(simulators)
        for number, (account, world) in enumerate(pair.worlds.items()):
            ids = sorted(world.images("FRA-A"))
            world.remove_image("FRA-A", ids[number])
            world.change_image("HKG-A", min(world.images("HKG-A")), imageVersion=account)
            world.add_image("LAX-A", imageName=f"of {account}")
            simulators[account].reset_stats()
            simulators[account].add_fault("status=503,zone=SAO-A,times=2")

        with logged("json") as text:
            reports = await pair.run(simulators)

        asked = {account: len(simulators[account].calls) for account in simulators}
    assert asked == {account: report.counts.calls for account, report in reports.items()}
    for account, report in reports.items():
        assert (0, 2) == (report.exit_code, report.counts.retries)
        kinds = (report.counts.appeared, report.counts.changed, report.counts.removed)
        assert (1, 1, 1) == kinds
        present = await stored(db, f"presence = 'present' and account = '{account}'")
        assert served(pair.worlds[account]) == present
    spans = await db.fetch("select started_at, finished_at from syncer.runs order by run_id desc")
    assert max(row["started_at"] for row in spans[:2]) < min(
        row["finished_at"] for row in spans[:2]
    )

    run_ids = {account: report.run_id for account, report in reports.items()}
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    for account, run_id in run_ids.items():
        own = [line for line in lines if line["account"] == account]
        assert {line["event"] for line in own} == BOTH
        assert {run_id} == {line["run_id"] for line in own}
        assert 6 == sum(line["event"] == "zone.written" for line in own)
        assert 2 == sum(line["event"] == "call.retried" for line in own)
        known = {call.request_id for call in simulators[account].calls}
        assert {line["request_id"] for line in own if line["event"] == "call.retried"} <= known


async def test_a_refusal_of_one_run_does_not_end_the_other(pair: Pair, db: Any) -> None:
    """One account's key is refused in mid-run: the other's run is done as if it were alone."""
    async with pair.simulator("north") as north, pair.simulator("south") as south:
        north.add_fault("status=401,action=DescribeImages,page=2-")
        reports = await pair.run({"north": north, "south": south})
    assert ("failed", True) == (reports["north"].status, reports["north"].refused)
    assert ("succeeded", 120) == (reports["south"].status, reports["south"].counts.images)
    assert served(pair.worlds["south"]) == await stored(db, "account = 'south'")
    assert {"north": "failed", "south": "succeeded"} == dict(
        map(tuple, await db.fetch("select account, status from syncer.runs"))
    )


async def test_the_secrets_of_all_runs_are_starred_in_each(pair: Pair) -> None:
    """On purpose the one thing that runs share: whose words they are, no secret is shown."""
    async with pair.simulator("north") as north, pair.simulator("south") as south:
        simulators = {"north": north, "south": south}
        north.add_fault(f"status=400,code=NO_{SECRETS['south']},zone=FRA-A")
        with logged("json") as text:
            reports = await pair.run(simulators)
    assert "***" == secrets.redacted(SECRETS["north"]) == secrets.redacted(SECRETS["south"])
    everything = text.getvalue() + str([msgspec.to_builtins(r.wide()) for r in reports.values()])
    assert not [secret for secret in SECRETS.values() if secret in everything]
    assert "NO_***" in everything
