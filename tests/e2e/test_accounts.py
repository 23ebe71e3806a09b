"""Several accounts in one process: each exact, none mixed with another, none harmed by another."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest

from syncer.cli import cli
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.simulator.calls import CallRecord
from syncer.store.connection import Server, sql
from syncer.store.runs import begin
from tests.e2e.test_prune import age
from tests.support import Done, lose, naming, rows, served, stored
from tests.support import tables as tables_of_store

SECRETS = {"K-north": "s3cr3t-n0rth", "K-south": "s3cr3t-s0uth", "K-east": "s3cr3t-e4st"}
SERVICES = ("vm", "zec", "bmc")
NAMES = [key.removeprefix("K-") for key in SECRETS]
Sync = Callable[..., Awaitable[Done]]


class Clouds:
    """One server for three accounts: each sees a world of its own, by its key.

    Zone ids and image ids occur in all three; each has one zone that is its alone, in two services.
    Another zone occurs in two services, and images of one id in it. Each image names its key.
    """

    def __init__(self) -> None:
        self.worlds = {
            key: {
                name: World.generate(seed=1, zones=4, images=10, service=name) for name in SERVICES
            }
            for key in SECRETS
        }
        for key, services in self.worlds.items():
            vm, zec, _ = services.values()
            zec.add_zone("FRA-A", images=4)
            zec.add_image("FRA-A", imageId=min(vm.images("FRA-A")))
            for world in (vm, zec):
                world.add_zone(f"{key[2:].upper()}-A", images=1)
            vm.change_image("FRA-A", min(vm.images("FRA-A")), imageVersion=key)
            for world in services.values():
                for zone in ["*"] if world.unzoned else world.zones():
                    for image_id, row in world.images(zone).items():
                        name = f"{row['imageName']} of {key}"
                        world.change_image(zone, image_id, imageName=name)
        self.simulator = Simulator(
            self.vm["K-north"],
            SimulatorOptions(access_keys=SECRETS, latency=0.005, on_call=self._choose),
        )

    def _choose(self, call: CallRecord) -> None:
        if call.who is not None:
            self.simulator.worlds = self.worlds[call.who]

    @property
    def vm(self) -> dict[str, World]:
        return {key: worlds["vm"] for key, worlds in self.worlds.items()}

    def drift(self, seed: int = 0, *services: str) -> None:
        """Let each account's images change, of vm or of other services."""
        for service in services or ("vm",):
            for number, worlds in enumerate(self.worlds.values()):
                worlds[service].drift(seed + number, appear=1 + number, change=2, remove=number)


@pytest.fixture
async def clouds() -> AsyncIterator[Clouds]:
    clouds = Clouds()
    async with clouds.simulator:
        yield clouds


@pytest.fixture
def tables(clouds: Clouds, tmp_path: Path) -> Callable[..., None]:
    """Write the settings file: a table for each account."""

    def write(**more: str) -> None:
        file = tmp_path / "accounts.toml"
        file.write_text(
            "".join(
                f'[accounts.{name}]\naccess_key_id = "K-{name}"\n'
                f'access_key_secret = "{SECRETS[f"K-{name}"]}"\n{more.get(name, "")}\n'
                for name in NAMES
            )
        )
        file.chmod(0o600)

    write()
    return write


@pytest.fixture
def sync(syncer: Any, clouds: Clouds, tables: Any, tmp_path: Path) -> Sync:
    """``syncer sync`` with these accounts and no credentials outside their tables."""

    async def run(*arguments: str, command: str = "sync", **env: str) -> Done:
        given = {
            "SYNCER_CONFIG": str(tmp_path / "accounts.toml"),
            "ZENLAYER_ENDPOINT": clouds.simulator.endpoint,
            "ZENLAYER_ACCESS_KEY_ID": "",
            "ZENLAYER_ACCESS_KEY_SECRET": "",
        }
        done: Done = await syncer(command, *arguments, **(given | env))
        return done

    return run


async def assert_each_has_its_own(
    db: Any, clouds: Clouds, *names: str, services: tuple[str, ...] = ("vm",)
) -> None:
    """What is stored as present of each account is what its key sees, of each of its services."""
    for name in names or NAMES:
        for service in SERVICES:
            where = f"presence = 'present' and account = '{name}'"
            there = served(clouds.worlds[f"K-{name}"][service]) if service in services else {}
            assert there == await stored(db, where, service=service), (name, service)


def most_at_once(calls: list[CallRecord]) -> int:
    """The most calls under way at one time."""
    events = [(call.started, 1) for call in calls]
    events += [(call.finished, -1) for call in calls if call.finished is not None]
    most = now = 0
    for _, step in sorted(events):
        now += step
        most = max(most, now)
    return most


def assert_paced(calls: list[CallRecord], *, rate: float, at_once: int) -> None:
    """The calls were started in no shorter intervals than the rate allows.

    Of those that arrive within a time, however late each is, at most ``at_once`` were started
    before it: what is started has a place until it is answered.
    """
    times = sorted(call.started for call in calls)
    for first, start in enumerate(times):
        for last, end in enumerate(times[first:]):
            assert last + 1 <= rate * (end - start) + 1 + at_once, (first, last)


async def test_accounts_side_by_side_are_exact_and_never_mixed(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """Every call bears the key of its account and asks for that one's zones; every row is its own.

    Each has its own cap on calls; each log line, run and report is of one account.
    """
    tables(north="max_concurrency = 1", south="page_size = 3")
    assert 0 == (await sync()).code
    clouds.drift()
    clouds.simulator.reset_stats()

    done = await sync("-o", "ndjson")

    assert 0 == done.code, done
    reports = {row["account"]: row for row in rows(done)}
    assert NAMES == list(reports)
    calls = clouds.simulator.calls
    for name, report in reports.items():
        own = [call for call in calls if call.who == f"K-{name}"]
        assert {200} == {call.status for call in own}
        assert report["calls"] == len(own)
        zones = {*clouds.vm[f"K-{name}"].zones()}
        assert zones == {call.zone for call in own if call.zone is not None}
        sizes = {call.page_size for call in own if call.page_size and not call.by_id}
        assert ({3} if name == "south" else {1000}) == sizes
    assert len(calls) == sum(report["calls"] for report in reports.values())
    assert 1 == most_at_once([call for call in calls if call.who == "K-north"])
    assert 1 < most_at_once(calls)
    await assert_each_has_its_own(db, clouds)
    mixed = await db.fetch("""
        select s.run_id from syncer_store.zone_scans as s
            join syncer_store.zones as z using (zone_key) join syncer_store.runs as r using (run_id)
        where z.account <> r.account
        union all
        select i.opened_run_id from syncer_store.images as i
            join syncer_store.zones as z using (zone_key)
            join syncer_store.runs as r on r.run_id = i.opened_run_id
        where z.account <> r.account""")
    assert [] == mixed
    keys = await db.fetch("select distinct account, key_digest from syncer_store.zones")
    assert (3, 3) == (len(keys), len({row["key_digest"] for row in keys}))
    times = await db.fetch("select started_at, finished_at from syncer.runs order by run_id desc")
    assert max(row[0] for row in times[:3]) < min(row[1] for row in times[:3])


async def test_one_that_is_refused_hangs_or_is_held_harms_no_other(
    clouds: Clouds, sync: Sync, tables: Any, db: Any, url: str
) -> None:
    """The others are done as if they were alone; the last lines say it account by account.

    Of each there are three services. What was read before one hung is stored.
    """
    stranger = '[accounts.stranger]\naccess_key_id = "K-none"\naccess_key_secret = "s3cr3t-none"\n'
    tables(north=stranger, south='run_timeout = "2s"')
    every = {"SYNCER_SERVICES": "all"}
    north, south = (
        {name: sum(map(len, served(world).values())) for name, world in worlds.items()}
        for key, worlds in clouds.worlds.items()
        if key != "K-east"
    )
    clouds.simulator.add_fault("hang,zone=SOUTH-A")
    async with begin(Server(url), "east", run_timeout=900.0, selection={}):
        done = await sync("-o", "table", **every)
        assert 3 == done.code
        last = done.out.splitlines()[-4:]
        images = sum(north.values())
        assert re.match(rf"north: Run \d succeeded: 12 zones, {images} images", last[0]), last
        assert re.match(r"stranger: Run \d failed: 0 zones", last[1]), last
        images = sum(south.values()) - 2
        assert re.match(rf"south: Run \d partial: 10 of 12 zones, {images} images", last[2]), last
        assert re.match(r"east: held: .*\brun 1 of\b", last[3]), last
        assert "Account south:\n  Not all done: " in done.out
        await assert_each_has_its_own(db, clouds, "north", services=SERVICES)
        statuses = await db.fetch("""
            select account, status, zone_id = 'SOUTH-A', count(*) from syncer.zone_scans
            group by 1, 2, 3 order by 1, 3""")
        assert [
            ("north", "changed", False, 12),
            ("south", "changed", False, 10),
            ("south", "failed", True, 2),
        ] == [tuple(row) for row in statuses]

        clouds.simulator.clear_faults()
        for key in ("K-north", "K-south"):
            del clouds.simulator.gate.access_keys[key]
        assert 5 == (await sync("-o", "table", **every)).code
    assert 1 == (await sync("--account", "stranger", **every)).code
    assert 3 == (await sync(**every)).code, "east is free again"
    await assert_each_has_its_own(db, clouds, "north", "east", services=SERVICES)


async def test_what_the_guard_withholds_of_one_account(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """It is exit 4 beside others that are done, and 3 beside one that is refused."""
    tables(south="guard_zone_count = 0")
    assert 0 == (await sync(SYNCER_SERVICES="zec")).code
    for worlds in clouds.worlds.values():
        lose(worlds["zec"], "FRA-A", 1)
    assert 4 == (await sync(SYNCER_SERVICES="zec")).code
    withheld = "select account from syncer.images where withheld_since is not null"
    assert ["south"] == [row[0] for row in await db.fetch(withheld)]
    await assert_each_has_its_own(db, clouds, "north", "east", services=("zec",))
    del clouds.simulator.gate.access_keys["K-north"]
    assert 3 == (await sync(SYNCER_SERVICES="zec")).code


async def test_a_selection_must_match_in_one_account(clouds: Clouds, sync: Sync, db: Any) -> None:
    """Where it matches nothing an account is left out; nowhere at all is exit 2."""
    done = await sync("--zone", "NORTH-A", "--zone", "SOUTH-*", "-o", "table")
    assert 0 == done.code, done
    assert "east: left out: no zone of it is selected." in done.out.splitlines()
    zones = {(row["account"], row["zone_id"]) for row in await db.fetch("table syncer.zones")}
    assert {("north", "NORTH-A"), ("south", "SOUTH-A")} == zones

    done = await sync("--zone", "NORTH-A", "--zone", "NOPE-*")
    assert (2, "syncer: no zone matches NOPE-*: see the ids with 'syncer zones'") == (
        done.code,
        done.err.splitlines()[-1],
    )
    done = await sync("--account", "east", "--not-zone", "NORTH-A")
    assert (2, True) == (done.code, "no zone matches NORTH-A" in done.err)


async def stored_rows(db: Any) -> dict[tuple[str, ...], dict[str, Any]]:
    """Every row of the store: its values, by its table, its place in it and who wrote it.

    A row that is written, be it with the values that it had, has another place and writer.
    """
    found = dict[tuple[str, ...], dict[str, Any]]()
    zones = {row["zone_key"]: row for row in await db.fetch("table syncer_store.zones")}
    for table in await tables_of_store(db):
        for row in await db.fetch(f"select ctid::text, xmin::text, t.* from {table} as t"):
            place, writer, *_ = row
            found[table, place, writer] = {**row, **zones.get(row.get("zone_key"), {})}
    return found


async def test_a_selected_run_writes_no_row_outside(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """PostgreSQL says it of every row of every table: no row outside has another place or writer.

    Outside there is all that a run would write: images that change, come and go, zones with another
    name, new ones and ones that are not listed, removals that are withheld or approved.
    """
    tables(**dict.fromkeys(NAMES, "guard_zone_count = 0"))
    every = {"SYNCER_SERVICES": "all"}
    for worlds in clouds.worlds.values():
        worlds["zec"].add_zone("FRA-B", images=3)
    assert 0 == (await sync(**every)).code
    for worlds in clouds.worlds.values():
        lose(worlds["vm"], "FRA-A", 2)
        lose(worlds["zec"], "FRA-A", 1)
    assert 4 == (await sync(**every)).code
    for service in ("vm", "zec"):
        approve = "--account", "north", "--service", service, "FRA-A", "--max", "1"
        assert 0 == (await sync(*approve, command="approve")).code

    def is_fra(row: Mapping[str, Any]) -> bool:
        return (row["service"], row["zone_id"][:4]) == ("zec", "FRA-")

    selections: list[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], bool]]] = [
        (("--service", "zec", "--zone", "FRA-*"), is_fra),
        (
            ("--service", "zec", "--zone", "FRA-*", "--not-zone", "*-B"),
            lambda row: is_fra(row) and row["zone_id"] == "FRA-A",
        ),
        (
            ("--account", "north", "--service", "zec", "--zone", "FRA-*"),
            lambda row: is_fra(row) and row["account"] == "north",
        ),
        (("--not-zone", "*-A"), lambda row: not row["zone_id"].endswith("-A")),
    ]
    for number, (arguments, selected) in enumerate(selections):
        with naming(arguments):
            for worlds in clouds.worlds.values():
                for world in worlds.values():
                    world.drift(number, appear=3, change=8, remove=2)
                    zone = "*" if world.unzoned else "FRA-A"
                    world.change_image(zone, min(world.images(zone)), **{f"new{number}": "x"})
                    if not world.unzoned:
                        world.change_zone(world.zones()[number % 4], zoneName=f"named {number}")
                        world.add_zone(f"NEW-{number}A", images=1)
                        if number:
                            world.remove_zone(f"NEW-{number - 1}A")
            before = await stored_rows(db)
            assert (await sync(*arguments, **every)).code in {0, 4}
            after = await stored_rows(db)

            written = [row for key, row in after.items() if key not in before]
            written += [row for key, row in before.items() if key not in after]
            zones = [row for row in written if "zone_id" in row]
            assert zones
            assert [] == [row for row in zones if not selected(row)]
            for name in ("account", "service"):  # of runs and locks; of new names of fields
                assert {row[name] for row in written if name in row} == {row[name] for row in zones}
            assert not {key for key in before if key[0] == "syncer_store.runs"} - after.keys()


async def test_one_or_more_accounts_are_chosen_wherever_there_may_be_several(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """By the exact name: another than those of the settings and of the store is exit 2.

    Every command that takes several is asked. One that was never crawled is no mistake.
    """
    two = "--account", "north", "--account", "east"
    tables(north='[accounts.old]\ntoken = "tok-old"\n')
    done = await sync(*two, "--account", "old", "-o", "ndjson")
    assert (3, {"north", "east", "old"}) == (done.code, {row["account"] for row in rows(done)})
    assert {"K-north", "K-east", None} == {call.who for call in clouds.simulator.calls}
    tables(north='[accounts.new]\ntoken = "tok-new"\n')
    arguments: dict[str, list[str]] = {
        "baseline": ["save", "b", "--replace"],
        "images": [],
        "zones": [],
        "runs": [],
        "changes": ["--initial"],
        "history": [min(clouds.vm["K-north"].images("FRA-A"))],
        "asof": ["now"],
        "diff": ["1d"],
        "spread": [],
        "check": ["b"],
        "sync": ["--dry-run"],
        "prune": ["--keep", "400d"],
    }
    assert {*arguments} | {"serve", "worker", "doctor"} == {*taking_accounts(cli)}, (
        "all go by one option"
    )
    for command, more in arguments.items():
        with naming(command):
            wrong = await sync(*more, *two, "--account", "nroth", command=command)
            assert (2, "") == (wrong.code, wrong.out)
            assert "syncer: --account: there is no account 'nroth'; there are " in wrong.err
            assert wrong.err.endswith("; did you mean north?\n")
            if command not in {"sync", "prune"}:
                done = await sync(*more, *two, command=command)
                assert 0 == done.code, done
            if command not in {"sync", "prune", "baseline"}:
                assert {"north", "east"} == {row["account"] for row in rows(done)}
    done = await sync("--account", "new", command="images")
    assert (0, "") == (done.code, done.out), "it was not crawled yet"
    done = await sync("--account", "old", command="runs")
    assert ["old"] == [row["account"] for row in rows(done)], "it is in the settings no more"
    filters = await db.fetchval("select filters::text from syncer_store.baselines")
    assert {"account": ["north", "east"]} == json.loads(filters)


def taking_accounts(group: click.Group) -> Iterator[str]:
    """The commands that take more than one account."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        inner = list(taking_accounts(command)) if isinstance(command, click.Group) else []
        if inner or (command and any(one.name == "accounts" for one in command.params)):
            yield name


async def test_a_dry_run_of_all_and_as_many_at_once_as_are_wanted(
    clouds: Clouds, sync: Sync, db: Any
) -> None:
    """Nothing is written; one at a time is one after the other."""
    done = await sync("--dry-run", "-o", "ndjson")
    assert 0 == done.code
    assert {*NAMES} == {row["account"] for row in rows(done)}
    assert 0 == await db.fetchval("select count(*) from syncer.runs")
    assert 0 == (await sync(SYNCER_ACCOUNTS_AT_ONCE="1")).code
    times = await db.fetch("select started_at, finished_at from syncer.runs order by run_id")
    assert all(one[1] <= next_one[0] for one, next_one in pairwise(times))
    await assert_each_has_its_own(db, clouds)


async def test_too_few_connections_are_said_and_fewer_run_at_once(
    clouds: Clouds, sync: Sync, db: Any, url: str
) -> None:
    """Three for each account at once and five beside them; the runs are done all the same."""
    await db.execute(sql("schema/roles"))
    await db.execute("create role few login connection limit 11 in role syncer_writer")
    try:
        limited = url.replace("//syncer@", "//few@")
        done = await sync(SYNCER_DATABASE_URL=limited, SYNCER_LOG_LEVEL="warning")
        assert 0 == done.code, done
        said = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
        (line,) = [one for one in said if one["event"] == "accounts.fewer_at_once"]
        assert (2, 3) == (line["at_once"], line["wanted"])
        assert (
            "role few has 11 connections left: 3 accounts at once use 14" in line["error_message"]
        )
    finally:
        await db.execute("drop owned by few; drop role few")
    await assert_each_has_its_own(db, clouds)


async def test_each_account_keeps_history_as_long_as_its_settings_say(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """One for which nothing is said is left alone; --keep is for all."""
    for number in range(3):
        assert 0 == (await sync()).code
        clouds.drift(10 * number)
        await age(db, days=20)
    count = """select z.account, count(*) from syncer_store.zone_scans join syncer_store.zones as z
        using (zone_key) group by 1"""
    before = dict(await db.fetch(count))
    tables(
        north='keep = "10d"',
        east='keep = "900d"\n[accounts.new]\ntoken = "tok-new"\nkeep = "10d"',
    )
    done = await sync(command="prune")
    assert 0 == done.code, done
    after = dict(await db.fetch(count))
    assert after["north"] < before["north"]
    assert (before["south"], before["east"]) == (after["south"], after["east"])

    done = await sync("--all-accounts", command="prune")
    assert (2, True) == (done.code, "say how long history is kept" in done.err)
    assert 0 == (await sync("--all-accounts", "--keep", "10d", command="prune")).code
    assert all(left < before[name] for name, left in await db.fetch(count))


async def test_three_services_of_three_accounts_in_one_run(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """Everything is stored under its own key, and each account keeps to its own limits.

    No row of an account is from a call of another's key; zones and images of one id are kept apart
    by account and service.
    """
    caps = {"north": 2, "south": 3, "east": 1}
    rates = {"north": 100.0, "east": 150.0}
    tables(
        **{
            name: f"max_concurrency = {cap}\npage_size = 3\n"
            + (f"max_rate = {rates[name]}\n" if name in rates else "")
            for name, cap in caps.items()
        }
    )
    for again in (False, True):
        if again:
            clouds.drift(3, *SERVICES)
            clouds.simulator.reset_stats()

        done = await sync("-o", "ndjson", SYNCER_SERVICES="all")

        assert 0 == done.code, done
        reports = {row["account"]: row for row in rows(done)}
        for name, cap in caps.items():
            own = [call for call in clouds.simulator.calls if call.who == f"K-{name}"]
            assert (reports[name]["calls"], {200}) == (len(own), {call.status for call in own})
            assert len(own) > 30, "or the rate is not tried"
            assert most_at_once(own) <= cap
            if name in rates:
                assert_paced(own, rate=rates[name], at_once=cap)
            else:
                assert most_at_once(own) == cap
            worlds = clouds.worlds[f"K-{name}"]
            zones = {(one, zone) for one in ("vm", "zec") for zone in worlds[one].zones()}
            assert zones == {(call.service, call.zone) for call in own if call.zone is not None}
        assert len(clouds.simulator.calls) == sum(row["calls"] for row in reports.values())
        await assert_each_has_its_own(db, clouds, services=SERVICES)
        if not again:
            strange = "account, image_name from syncer.images where image_name not like '%of K-'"
            assert [] == await db.fetch(f"select {strange} || account")

    shared = await db.fetch("""
        select image_id, array_agg((account, service)::text) from syncer.images
        where zone_id = 'FRA-A' group by 1 having count(distinct service) = 2""")
    assert [6] == [len(keys) for _, keys in shared]
    assert 9 == await db.fetchval("select count(distinct (account, service)) from syncer.zones")


async def test_each_account_is_asked_for_its_own_services(
    clouds: Clouds, sync: Sync, tables: Any, db: Any
) -> None:
    """A table's services go before those outside it; --service is of all accounts."""
    tables(north='services = "all"', south='services = ["zec", "vm"]')

    done = await sync("-o", "ndjson", SYNCER_SERVICES="bmc")

    assert 0 == done.code, done
    asked = {"north": SERVICES, "south": ("zec", "vm"), "east": ("bmc",)}
    reports = {row["account"]: row for row in rows(done)}
    for name, services in asked.items():
        own = [call for call in clouds.simulator.calls if call.who == f"K-{name}"]
        assert {*services} == {call.service for call in own}
        assert reports[name]["calls"] == len(own)
        await assert_each_has_its_own(db, clouds, name, services=services)

    clouds.simulator.reset_stats()
    assert 0 == (await sync("--service", "zec", "--zone", "FRA-*")).code
    assert {("K-north", "zec"), ("K-south", "zec"), ("K-east", "zec")} == {
        (call.who, call.service) for call in clouds.simulator.calls
    }


def exit_codes(path: Path) -> Mapping[str, float]:
    """The exit code of each account's last run, as a metrics file has it."""
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith('syncer_last_run_exit_code{account="'):
            name, _, value = line.partition('"} ')
            found[name.rpartition('"')[2]] = float(value)
    return found


async def test_the_metrics_file_has_every_account(
    clouds: Clouds, sync: Sync, tmp_path: Path
) -> None:
    """Of one that is not crawled this time it keeps what it held."""
    path = tmp_path / "syncer.prom"
    assert 0 == (await sync(SYNCER_METRICS_FILE=str(path))).code
    assert dict.fromkeys(NAMES, 0.0) == exit_codes(path)
    del clouds.simulator.gate.access_keys["K-north"]
    before = path.read_text()
    assert 1 == (await sync("--account", "north", SYNCER_METRICS_FILE=str(path))).code
    assert {"north": 1.0, "south": 0.0, "east": 0.0} == exit_codes(path)

    def of_south(text: str) -> set[str]:
        return {line for line in text.splitlines() if 'account="south"' in line}

    assert of_south(before) == of_south(path.read_text())
    assert 'syncer_runs_total{account="north",status="failed"} 1.0' in path.read_text()
    assert 'syncer_runs_total{account="north",status="succeeded"} 1.0' in path.read_text()
