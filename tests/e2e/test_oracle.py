"""Random worlds of vm or zec, and after every run each image of every view against a model.

``SYNCER_ORACLE_WORLDS=300 pytest tests/e2e/test_oracle.py -n 2`` tries that number of worlds. The
model is ``oracle.py``; here are the worlds, and the comparing. What is worked out of those views is
held to them by ``answers.py``, at the end of each world.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import anyio
import msgspec
import pytest

from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.simulator.calls import CallRecord
from syncer.simulator.faultbook import FaultBook
from tests import clock
from tests.conftest import SECRET
from tests.e2e import oracle
from tests.e2e.answers import Answers
from tests.e2e.oracle import (
    ANY,
    WHOLE,
    Account,
    Answer,
    Disagreement,
    Either,
    Facts,
    Judge,
    Limits,
    Pass,
    Scan,
    agrees,
    text,
)
from tests.support import until, zones_are_read

# Read at import: conftest takes every SYNCER_ variable out of the environment of the tests.
WORLDS = int(os.environ.get("SYNCER_ORACLE_WORLDS") or 0)
SEEDS = range(WORLDS) if WORLDS else (1001, 1014, 1027)  # short ones: see Driver.live
ZONES = ["FRA-A", "HKG-A", "MIA-A", "SIN-A", "TYO-A"]
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
YEARS = timedelta(days=3650) // MICROSECOND
JUDGE = Judge()
"""One for all worlds: where the guard's rules leave a choice, it must always be the same."""

STEPS = [timedelta(minutes=m) for m in (-67, 71, -4, 31 * 60, -26 * 60, 3 * 1441, 5 * 1439)]
KINDS = ["PUBLIC_IMAGE"] * 4 + ["CUSTOM_IMAGE", None]
VALUES: dict[str, list[Any]] = {
    "imageName": ["Ubuntu", "Ubuntu ", "ubuntu", "", None, 22, "N\0UL"],
    "imageType": KINDS,
    "imageSize": ["30", 30, "30.0", "3e1", " 30", 30.0, "", "big", None, 40],
    "imageDescription": ["text", "", " ", None, True],
    "imageVersion": ["1", 1, "1.0", None, ""],
    "imageStatus": ["AVAILABLE", "AVAILABLE", "UNAVAILABLE", "CREATING", None],
    "category": ["ubuntu", "centos", None, ""],
    "osType": ["linux", "Linux", "windows", None],
}
LATER: dict[str, dict[str, list[Any]]] = {
    "zec": {
        "nicNetworkType": [
            ["Virtio", "FailOver"],
            ["FailOver", "Virtio"],
            ["Virtio"],
            [],
            None,
            "x",
        ],
        "imageSource": ["OFFICIAL", "OFFICIAL", "APP", None],
        "minDiskSize": [20, "20", 40, None],
    }
}
"""What the later columns of a service may hold; each is left out as often as it is sent."""
GUARDS: list[dict[str, int | None]] = [{}] * 10 + [
    {"zone_count": 0},
    {"zone_count": 2},
    {"zone_count": 2},
    {"zone_count": None},
    {"zone_count": 3, "zone_percent": 50},
    {"zone_percent": 60},
    {"run_percent": None},
    {"run_percent": 5},
    {"zone_count": None, "run_percent": None},
]


class Cloud:
    """What the API holds for one account, and what becomes of it."""

    def __init__(self, random: Random, account: str, service: str) -> None:
        self.random, self.account, self.service = random, account, service
        self.later = LATER.get(service, {})
        self.values = VALUES | self.later
        self.ids: dict[str, int] = {}
        self.key = f"{account}-1"
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.left: dict[str, dict[str, dict[str, Any]]] = {}
        self.modes: dict[str, str] = {}
        for zone in random.sample(ZONES, random.choice([1, 2, 3, 4, 5, 5])):
            self.add_zone(zone)

    def add_zone(self, zone: str) -> str:
        """Add a zone of up to thirty images."""
        self.rows[zone], self.left[zone], self.modes[zone] = {}, {}, "listed"
        self.appear(zone, self.random.choice([0, 1, 3, 4, 8, 12, 20, 24, 30, 30]))
        return f"new {zone} of {len(self.rows[zone])}"

    def appear(self, zone: str, count: int) -> str:
        """Add images."""
        for _ in range(count):
            row = {name: self.random.choice(values) for name, values in VALUES.items()}
            row["imageName"] = f"Ubuntu {self.random.randint(1, 9)}"
            if self.random.random() < 0.2:
                del row[self.random.choice(list(VALUES))]
            for name, values in self.later.items():
                if self.random.random() < 0.5:
                    row[name] = self.random.choice(values)
            self._publish(zone, row)
        return f"{count} appear in {zone}"

    def _publish(self, zone: str, row: dict[str, Any]) -> None:
        """Add an image under the next id of the zone; other zones have images of that id too."""
        self.ids[zone] = self.ids.get(zone, 0) + 1
        image_id = f"img-{self.ids[zone]}"
        self.rows[zone][image_id] = row | {"imageId": image_id}

    def _some(self, zone: str, count: int, where: str = "rows") -> list[str]:
        ids = list(getattr(self, where)[zone])
        return self.random.sample(ids, min(count, len(ids)))

    def change(self, zone: str, count: int) -> str:
        """Change a field of images, or take it away."""
        for one in self._some(zone, count):
            name = self.random.choice([*self.values, *self.later, "imageSize", "note"])
            row = dict(self.rows[zone][one])
            row[name] = self.random.choice(self.values.get(name, [1, 2, "x"]))
            if self.random.random() < 0.2:
                del row[name]
            self.rows[zone][one] = row
        return f"{count} change in {zone}"

    def leave(self, zone: str, ids: Iterable[str]) -> str:
        """Take images away."""
        ids = list(ids)
        for one in ids:
            self.left[zone][one] = self.rows[zone].pop(one)
        return f"{len(ids)} leave {zone}"

    def back(self, zone: str, count: int) -> str:
        """Bring images back."""
        for one in self._some(zone, count, "left"):
            self.rows[zone][one] = self.left[zone].pop(one)
        return f"{count} return to {zone}"

    def republish(self, zone: str, count: int) -> str:
        """Give images new ids and keep their names."""
        ids = self._some(zone, count)
        for one in ids:
            self._publish(zone, self.rows[zone][one])
        return "republish: " + self.leave(zone, ids)

    def lose_kind(self) -> str:
        """Take all images of one type away, everywhere, or all but one."""
        kind, spared = self.random.choice(KINDS[4:]), self.random.random() < 0.2
        for zone, rows in self.rows.items():
            ids = [i for i, row in rows.items() if text(row.get("imageType")) == kind]
            self.leave(zone, ids[spared:])
            spared = spared and not ids
        return f"images of type {kind} leave"

    def bleed(self) -> str:
        """Take a few images away in every zone."""
        share = self.random.choice([0.2, 0.25, 0.35, 0.5])
        return ", ".join(
            self.leave(zone, self._some(zone, min(10, int(len(rows) * share))))
            for zone, rows in self.rows.items()
        )

    def edge(self, zone: str) -> str:
        """Take as many away as a limit allows, or one more: of a zone, or of all together."""
        more = self.random.choice([0, 1])
        if self.random.random() < 0.5:
            return self.leave(zone, self._some(zone, len(self.rows[zone]) // 4 + more))
        every = [(z, one) for z, rows in self.rows.items() for one in rows]
        gone = self.random.sample(every, min(len(every), len(every) // 5 + more))
        return ", ".join(self.leave(z, [one for y, one in gone if y == z]) for z in self.rows)

    def turn(self, zone: str) -> str:
        """Let a zone be listed no more, or otherwise than before."""
        mode = self.random.choice(
            ["listed", "listed", "unlisted", "unknown", "empty", "refused", "denied"]
        )
        if [z for z, m in self.modes.items() if m == "listed" and z != zone]:
            self.modes[zone] = mode
        return f"{zone} is {self.modes[zone]}"

    def happen(self) -> str:
        """Let one thing become of the world."""
        random, zone = self.random, self.random.choice(list(self.rows))
        half = len(self.rows[zone]) // 2
        things = [
            (4, lambda: self.appear(zone, random.choice([1, 2, 12]))),
            (4, lambda: self.change(zone, random.choice([1, 3, 9]))),
            (3, lambda: self.leave(zone, self._some(zone, random.choice([1, 2, 5])))),
            (
                2,
                lambda: self.leave(zone, self._some(zone, random.choice([10, 11, 12, half]))),
            ),
            (2, lambda: self.back(zone, random.choice([1, 5, 40]))),
            (2, lambda: self.republish(zone, random.choice([2, 40]))),
            (1.5, self.bleed),
            (3, self.lose_kind),
            (2, lambda: self.edge(zone)),
            (1, self.another_zone),
            (0.5, self.rotate),
            (0.5, lambda: "; ".join(self.turn(z) for z in [*self.rows][1:])),
            (3, lambda: self.turn(zone)),
        ]
        weights, happens = zip(*things, strict=True)
        (one,) = random.choices(happens, weights)
        return str(one())

    def another_zone(self) -> str:
        """Add a zone, if there are not five."""
        new = [zone for zone in ZONES if zone not in self.rows]
        return self.add_zone(new[0]) if new else "nothing"

    def rotate(self) -> str:
        """Use another key from now on."""
        if self.key[-1] < "9":
            self.key = f"{self.account}-{int(self.key[-1]) + 1}"
        return f"key {self.key}"


class Plan(msgspec.Struct, frozen=True):
    """One run: what it is asked, and the faults that make the simulator answer so."""

    ask: Pass
    faults: list[str]
    words: str


def answer_of(cloud: Cloud, zone: str, faults: list[str], *, described: bool) -> Answer:
    """Choose how a zone answers in one run, and add the faults for it."""
    random, mode = cloud.random, cloud.modes[zone]
    rows = dict(cloud.rows[zone])
    answer = Answer(
        described=mode in {"listed", "denied"}, rows=tuple(rows.values()), service=cloud.service
    )
    replace = msgspec.structs.replace
    if mode not in {"listed", "denied"}:
        faults.append(f"hide_zone,zone={zone}")
    if mode in {"unknown", "denied"}:
        faults.append(f"not_found=zone,zone={zone}")
        return replace(answer, rows=(), listing="not_found")
    if mode == "empty":
        faults.append(f"empty_listing,zone={zone},by_id=false")
        return replace(answer, rows=(), unlisted=rows)
    if mode == "refused":
        faults.append(f"status={random.choice([401, 403]) if described else 403},zone={zone}")
        return replace(answer, rows=(), listing="failed")
    luck = random.random()
    if luck < 0.05:
        faults.append(f"status={random.choice([400, 503])},zone={zone},by_id=false")
        return replace(answer, rows=(), listing="failed")
    if luck < 0.1:
        faults.append(f"total=+1,zone={zone},by_id=false")
        answer = replace(answer, listing="torn")
    elif luck < 0.14:
        answer = replace(answer, rows=(*answer.rows, {"imageName": "no id"}))
    if random.random() < 0.12 and rows:
        hidden = random.sample(sorted(rows), min(len(rows), random.choice([1, 2, 4, 12])))
        faults.append(f"omit=1,zone={zone},ids={'|'.join(hidden)}")
        listed = tuple(row for row in answer.rows if row.get("imageId") not in hidden)
        answer = replace(answer, rows=listed, unlisted={one: rows[one] for one in hidden})
    luck = random.random()
    for share, question, fault in (
        (0.05, "failed", "status=400"),
        (0.08, "failed", "status=500"),
        (0.12, "nothing", "empty_listing"),
        (0.16, "denied", "not_found=image"),
    ):
        if luck < share:
            faults.append(f"{fault},zone={zone},by_id=true")
            return replace(answer, question=question)
    return answer


def plan_of(cloud: Cloud, looks: int) -> Plan:
    """Choose how one run goes."""
    random, faults = cloud.random, list[str]()
    described = random.random() > 0.06
    if not described:
        faults.append(random.choice(["status=400,action=DescribeZones", "empty_zones"]))
    zones = {z: answer_of(cloud, z, faults, described=described) for z in cloud.rows}
    selected = None
    listed = [z for z, mode in cloud.modes.items() if mode == "listed"]
    if described and random.random() < 0.15:
        selected = frozenset(random.sample(listed, random.randint(1, min(2, len(listed)))))
    limits = Limits(**random.choice(GUARDS))
    ask = Pass(
        zones=zones,
        described=described,
        selected=selected,
        limits=limits,
        looks=looks,
        key=cloud.key,
        refuses=random.random() < 0.3,
    )
    words = f"faults {faults}" + (f" only {sorted(selected)}" if selected else "")
    words += f" {limits}" if limits != Limits() else ""
    words += " refuses" if ask.refuses else ""
    words += "".join(f" row without id in {z}" for z, a in zones.items() if a.rejected)
    return Plan(ask, faults, f"{words} looks {looks} key {cloud.key}")


def program(simulator: Simulator, cloud: Cloud, plan: Plan) -> None:
    """Let the simulator answer as planned."""
    world = simulator.world = World(seed=1, service=cloud.service)
    for zone, rows in cloud.rows.items():
        world.add_zone(zone)
        for image_id, row in rows.items():
            world.add_row(zone, row, key=image_id)
        for _ in range(plan.ask.zones[zone].rejected):
            world.add_row(zone, {"imageName": "no id"})
    simulator.faults = FaultBook(Random(0), plan.faults)  # noqa: S311
    unknown = "error" if plan.ask.refuses else "omit"
    simulator.options = msgspec.structs.replace(simulator.options, unknown_ids=unknown)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator that takes many keys: of each account, and those it rotates to."""
    keys = {f"{account}-{n}": SECRET for account in ("one", "two") for n in range(1, 10)}
    async with Simulator(World(seed=1), SimulatorOptions(access_keys=keys)) as running:
        yield running


class History:
    """The database of one world, its model, and what happened, for the message of a failure."""

    def __init__(self, db: Any, seed: int, service: str) -> None:
        self.db, self.seed, self.service = db, seed, service
        self.random = Random(f"{seed}/look")  # noqa: S311
        self.moved = 0
        self.log: list[str] = []
        self.models: dict[str, Account] = {}
        self.compared: set[int] = set()
        self.trimmed = self.thinned = False
        self.answers = Answers(db, Random(f"{seed}/answers"), self.micro)  # noqa: S311

    # Instants.

    def micro(self, at: datetime | None) -> Any:
        """An instant of the database on the line that does not move."""
        return None if at is None else (at - EPOCH) // MICROSECOND - self.moved

    def instant(self, micro: int) -> datetime:
        """The opposite."""
        return EPOCH + (micro + self.moved) * MICROSECOND

    async def clock(self) -> int:
        """The database's clock."""
        now: int = self.micro(await self.db.fetchval("select clock_timestamp()"))
        return now

    async def step(self, by: timedelta) -> None:
        """Step the database's clock."""
        self.log.append(f"the clock steps by {by}")
        await clock.step(self.db, by)
        self.moved -= by // MICROSECOND

    async def rows(self, view: str, account: str, where: str = "true") -> list[dict[str, Any]]:
        """Rows of a view, instants converted."""
        found = await self.db.fetch(
            f"select * from syncer.{view} where account = $1 and {where}", account
        )
        return [self.converted(row) for row in found]

    def converted(self, row: Any) -> dict[str, Any]:
        """A row with its instants on the line."""
        return {
            name: self.micro(value) if isinstance(value, datetime) else value
            for name, value in row.items()
        }

    # Facts.

    async def facts(self, account: str) -> Facts:
        """The instants of an account's newest run."""
        (run,) = await self.rows(
            "runs", account, "run_id = (select max(run_id) from syncer.runs where account = $1)"
        )
        of_run = f"run_id = {run['run_id']}"
        scans = {
            row["zone_id"]: Scan(
                started=row["started_at"],
                observed=row["observed_at"],
                finished=row["finished_at"],
                status=row["status"],
            )
            for row in await self.rows("zone_scans", account, of_run)
        }
        versions = await self.rows("image_versions", account, of_run)
        removed = await self.rows("image_changes", account, f"{of_run} and kind = 'removed'")
        gaps = await self.rows("image_gaps", account, "ended_by = 'seen'")
        withheld = await self.rows("images", account, "withheld_since is not null")
        zones = await self.rows("zones", account)
        return Facts(
            run_id=run["run_id"],
            started=run["started_at"],
            finished=run["finished_at"],
            clock=await self.clock(),
            scans=scans,
            opened={place(row): row["valid_from"] for row in versions},
            removed={place(row): row["changed_at"] for row in removed},
            seen={(*place(row), row["gap_from"]): row["gap_to"] for row in gaps},
            withheld=frozenset(map(place, withheld)),
            pending={row["zone_id"]: row["approved_removals"] for row in zones},
        )

    # Comparing.

    async def compare(self, *, everything: bool = False) -> None:
        """Compare every view with the model, and as-of answers at the instants that are new."""
        wrong = list[str]()
        for account, model in self.models.items():
            if not model.runs:
                continue
            wrong += await self.views(account, model)
            wrong += await self.coverages(account, model, everything=everything)
            wrong += await self.past(account, model, everything=everything)
        await self.answers.note()
        if everything:
            wrong += await self.answers.wrong()
        if wrong:
            raise Disagreement("\n  ".join([f"{len(wrong)} answers:", *wrong[:25]]))

    async def views(self, account: str, model: Account) -> list[str]:
        """Compare the views that show all there is."""
        images = {place(row): row for row in await self.rows("images", account)}
        for row in images.values():
            row["removed"] = row["removed_at"] is not None
            row["withheld"] = row["withheld_since"] is not None
        zones = {row["zone_id"]: row for row in await self.rows("zones", account)}
        for row in zones.values():
            row["gone"] = row["gone_at"] is not None
        gaps = {
            (*place(row), row["gap_from"]): row | {"withheld": row["withheld_since"] is not None}
            for row in await self.rows("image_gaps", account)
        }
        return [
            *differences("images", model.images_now(), images),
            *differences("zones", model.zones_now(), zones),
            *self.kept("image_gaps", model.gaps(), gaps, model, "gap_to"),
            *await self.versions(account, model),
            *await self.feed(account, model),
            *await self.scans(account, model),
        ]

    def kept(
        self, view: str, expected: dict[Any, Any], found: dict[Any, Any], model: Account, end: str
    ) -> list[str]:
        """Compare, where what ended before the time that is kept may be missing."""
        for key, row in list(expected.items()):
            start = model.zones[key[0]].kept_from
            if key not in found and start is not None and (row[end] or start + 1) <= start:
                del expected[key]
        return differences(view, expected, found)

    async def versions(self, account: str, model: Account) -> list[str]:
        """Compare each state of each image."""
        expected = {
            (name, image_id, version.valid_from): {
                **version.values.row,
                "valid_to": version.valid_to,
            }
            for name, zone in model.zones.items()
            for image_id, image in zone.images.items()
            for version in image.versions
        }
        rows = await self.rows("image_versions", account)
        found = {(*place(row), row["valid_from"]): row for row in rows}
        return self.kept("image_versions", expected, found, model, "valid_to")

    async def feed(self, account: str, model: Account) -> list[str]:
        """Compare each change, and their order."""
        expected = {
            (*change.place, change.changed_at, change.kind): {
                "run_id": change.run_id,
                "before": change.before and change.before.document,
                "after": change.after and change.after.document,
                "changed_fields": sorted(change.fields),
                "not_before": change.not_before,
                "first_look": change.first_look,
                "changed_at": change.changed_at,
            }
            for change in model.changes
        }
        rows = await self.rows("image_changes", account)
        for row in rows:
            row |= {side: json.loads(row[side] or "null") for side in ("before", "after")}
            row["changed_fields"] = sorted(row["changed_fields"])
        found = {(*place(row), row["changed_at"], row["kind"]): row for row in rows}
        ordered = [row["run_id"] for row in sorted(rows, key=lambda row: row["change_id"])]
        wrong = [] if ordered == sorted(ordered) else [f"image_changes: order {ordered}"]
        return wrong + self.kept("image_changes", expected, found, model, "changed_at")

    async def scans(self, account: str, model: Account) -> list[str]:
        """Compare scans and runs; those that prune took may be missing."""
        expected: dict[Any, Any] = {
            (look.run_id, name): scan_row(look)
            for name, zone in model.zones.items()
            for look in zone.looks
        }
        rows = await self.rows("zone_scans", account)
        found = {(row["run_id"], row["zone_id"]): row for row in rows}
        wrong = list[str]()
        if self.thinned and not self.trimmed:
            for whole in (True, False):
                looks = sum(
                    (look.status in WHOLE) is whole
                    for zone in model.zones.values()
                    for look in zone.looks
                )
                counted = sum(r["looks"] for r in rows if (r["status"] in WHOLE) is whole)
                if looks != counted:
                    wrong.append(f"zone_scans: looks (whole: {whole}): {counted}, not {looks}")
        if self.thinned or self.trimmed:
            expected = {key: row for key, row in expected.items() if key in found}
        wrong += differences("zone_scans", expected, found)
        stored = {row["run_id"]: row for row in await self.rows("runs", account)}
        runs = {run_id: run_row(run) for run_id, run in model.runs.items()}
        if self.trimmed:
            runs = {run_id: row for run_id, row in runs.items() if run_id in stored}
        return wrong + differences("runs", runs, stored)

    def instants(self, model: Account, *, everything: bool) -> dict[int, set[tuple[str, str]]]:
        """The instants to ask at: on boundaries and beside them, and far away.

        Every boundary at a world's end; till then some that are new, and some old.
        """
        boundaries = model.boundaries()
        news = sorted(boundaries)
        if not everything:
            new = [at for at in news if at not in self.compared]
            old = [at for at in news if at in self.compared]
            self.compared.update(new)
            news = [*new[-1:], *self.random.sample(new, min(len(new), 6))]
            news += self.random.sample(old, min(len(old), 3))
        found = {at + near: boundaries[at] for at in news for near in (0, -1, 1)}
        edges = [model.newest + YEARS]
        if boundaries:
            edges.append(min(boundaries) - YEARS)
        return found | {at: set() for at in edges}

    async def coverages(self, account: str, model: Account, *, everything: bool) -> list[str]:
        """Compare ``zone_coverage``."""
        instants = list(self.instants(model, everything=everything)) if everything else [
            at + near for look_ in model.zones.values() for look in look_.looks[-2:]
            for at in (look.scan.finished,) for near in (0, -1, 1)
        ] + [model.newest + YEARS, model.newest - YEARS]  # fmt: skip
        now = await self.clock()
        rows = await self.db.fetch(
            "select t, c.* from unnest($1::timestamptz[]) as t, syncer.zone_coverage(t) as c "
            "where account = $2",
            [self.instant(at) for at in instants],
            account,
        )
        found = dict[Any, Any]()
        for raw in rows:
            row = self.converted(raw)
            found[row["t"], row["zone_id"]] = row
        expected = {
            (at, name): model.coverage(name, at, now)
            for at in set(instants)
            for name in model.zones
        }
        return differences("zone_coverage", expected, found)

    async def past(self, account: str, model: Account, *, everything: bool) -> list[str]:
        """Compare ``images_asof`` and ``image_presence``."""
        instants = self.instants(model, everything=everything)
        now = await self.clock()
        search = "select * from syncer.images_asof($1) where account = $2"
        found = dict[Any, Any]()
        for at in instants:
            for raw in await self.db.fetch(search, self.instant(at), account):
                row = self.converted(raw)
                found[at, *place(row)] = row
        expected, asked = {}, list[tuple[int, str, str]]()
        for at, places in instants.items():
            everyone = [(name, one) for name, zone in model.zones.items() for one in zone.images]
            for name, one in everyone:
                answer = model.presence(name, one, at, now)
                key = (at, name, one)
                if answer == "present" or (isinstance(answer, Either) and key in found
                                           and "present" in answer):  # fmt: skip
                    expected[key] = model.asof(name, one, at)
            some = self.random.sample(everyone, min(4, len(everyone)))
            some += self.random.sample(sorted(places), min(5, len(places)))
            asked += [(at, *one) for one in some]
            asked += [(at, name, "img-never") for name in model.zones]
        wrong = differences("images_asof", expected, found)
        return wrong + await self.presences(account, model, asked, now)

    async def presences(
        self, account: str, model: Account, asked: list[tuple[int, str, str]], now: int
    ) -> list[str]:
        """Compare ``image_presence`` for some images at some instants."""
        columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
        rows = await self.db.fetch(
            "select z, i, t, syncer.image_presence($1, $5, z, i, t) as presence "
            "from unnest($2::timestamptz[], $3::text[], $4::text[]) as u (t, z, i)",
            account,
            [self.instant(at) for at in columns[0]],
            columns[1],
            columns[2],
            self.service,
        )
        found = {(self.micro(row["t"]), row["z"], row["i"]): row for row in rows}
        expected = {
            (at, name, one): {"presence": model.presence(name, one, at, now)}
            for at, name, one in asked
        }
        return differences("image_presence", expected, found)


def place(row: Any) -> tuple[str, str]:
    """The zone and the image of a row."""
    return row["zone_id"], row["image_id"]


def scan_row(look: oracle.Look) -> dict[str, Any]:
    """A scan as its view shows it; what is read of one that is not whole is not compared."""
    kinds = ("appeared", "changed", "removed", "returned")
    return {kind: look.counts.get(kind, 0) for kind in kinds} | {
        "status": look.status,
        "withheld": look.withheld,
        "images": look.images if look.whole else ANY,
        "rejected": look.rejected,
        "started_at": look.scan.started,
        "observed_at": look.scan.observed,
        "finished_at": look.scan.finished,
    }


def run_row(run: dict[str, Any]) -> dict[str, Any]:
    """A run as its view shows it: counts are sums over its scans."""
    looks = run["looks"].values()
    row: dict[str, Any] = {
        f"zones_{status}": sum(look.status == status for look in looks)
        for status in ("unchanged", "changed", "incomplete", "failed", "guarded", "gone")
    }
    for kind in ("appeared", "changed", "removed", "returned"):
        row[kind] = sum(look.counts.get(kind, 0) for look in looks)
    words = {0: "succeeded", 4: "succeeded", 3: "partial", 1: "failed"}
    codes = run["exit"] if isinstance(run["exit"], Either) else (run["exit"],)
    return row | {
        "zones": len(looks),
        "started_at": run["started_at"],
        "finished_at": run["finished_at"],
        "rejected": sum(look.rejected for look in looks),
        "status": Either(words[code] for code in codes),
    }


def differences(view: str, expected: dict[Any, Any], found: dict[Any, Any]) -> list[str]:
    """One line for each row that is missing or too many, and each column that differs."""
    wrong = [f"{view}: {key} is missing" for key in expected.keys() - found.keys()]
    wrong += [f"{view}: {key} is too many" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        for name, value in expected[key].items():
            if not agrees(value, found[key][name]):
                wrong.append(f"{view}.{name}: {key} is {found[key][name]!r}, not {value!r}")
    return sorted(wrong)


class Driver:
    """Lets one world happen: runs, and what people and clocks do between them."""

    def __init__(self, seed: int, db: Any, simulator: Simulator, sync: Any, syncer: Any) -> None:
        self.random = Random(seed)  # noqa: S311
        self.simulator, self.sync, self.syncer = simulator, sync, syncer
        self.service = "zec" if seed % 2 else "vm"
        self.history = History(db, seed, self.service)
        names = ["one", "two"][: self.random.choice([1, 1, 2])]
        self.clouds = {name: Cloud(self.random, name, self.service) for name in names}
        self.history.models = {name: Account(JUDGE) for name in names}
        self.looks = self.random.choice([1, 1, 1, 2, 3])
        self.apart = Random(f"{seed}/apart")  # noqa: S311
        self.page_size = self.apart.choice(["1000", "7"])

    async def live(self) -> None:
        """Let the world happen, and compare after everything that writes."""
        note = self.history.log.append
        note(f"seed {self.history.seed}")
        for number in range(8 + self.history.seed % 13):
            name = self.random.choice(list(self.clouds))
            cloud = self.clouds[name]
            if number:
                await self.between(name)
                for _ in range(self.random.choice([0, 1, 1, 2, 3])):
                    note(f"{name}: {cloud.happen()}")
            await self.run(name, cloud)
            await self.run_again(name, cloud)
        await self.history.compare(everything=True)

    async def run_again(self, name: str, cloud: Cloud) -> None:
        """Do a few runs between which little becomes of the world: here short cuts are taken.

        What they need is drawn apart, so that the rest of a world is what it was without them.
        """
        drawn, self.random, cloud.random = self.random, self.apart, self.apart
        for _ in range(self.apart.choice([0, 1, 3])):
            for zone in self.apart.choices([*cloud.rows], k=self.apart.choice([0, 1, 2])):
                happens = self.apart.choice([cloud.change, cloud.appear, cloud.back])
                self.history.log.append(f"{name}: {happens(zone, 1)}")
            await self.run(name, cloud)
        self.random = cloud.random = drawn

    async def run(self, name: str, cloud: Cloud) -> None:
        """Do one run, and compare."""
        model, history = self.history.models[name], self.history
        looks = self.random.choice([1, 2]) if self.random.random() < 0.05 else self.looks
        plan = plan_of(cloud, looks)
        if model.zones and not model.to_scan(plan.ask):
            return
        program(self.simulator, cloud, plan)
        history.log.append(f"{name}: run {len(history.log)}: {plan.words}")
        if self.apart.random() < 0.2:
            self.simulator.add_fault("reorder=page")
        if plan.ask.selected is None and self.apart.random() < 0.7:
            self.simulator.on_call = self.list_late
        report = await self.sync(
            zones=tuple(sorted(plan.ask.selected or ())),
            SYNCER_ACCOUNT=name,
            SYNCER_SERVICES=self.service,
            ZENLAYER_ACCESS_KEY_ID=cloud.key,
            SYNCER_PAGE_SIZE=self.page_size,
            **settings_of(plan.ask),
        )
        self.simulator.on_call = None
        model.run(plan.ask, await history.facts(name))
        await history.compare()
        expected = model.runs[report.run_id]["exit"]
        if not agrees(expected, report.exit_code):
            raise Disagreement(f"exit code: {report.exit_code}, not {expected}: {report.fault}")

    async def list_late(self, call: CallRecord) -> None:
        """Let the list of zones come when those that are expected are asked for."""
        if call.action == "DescribeZones":
            with anyio.move_on_after(1):
                await until(lambda: zones_are_read(self.history.db))

    async def between(self, name: str) -> None:
        """What people and clocks do between two runs."""
        luck, model = self.random.random(), self.history.models[name]
        if not model.zones:
            return
        if luck < 0.2:
            await self.history.step(self.random.choice(STEPS))
        elif luck < 0.5:
            await self.approve(name, model)
        elif luck < 0.56:
            await self.retire(name, model)
        elif luck < 0.64:
            await self.prune(name, model)
        else:
            return
        await self.history.compare()

    async def command(self, *arguments: str, code: int = 0) -> None:
        """Run a command, and check its exit code."""
        done = await self.syncer(*arguments)
        self.history.log.append(f"{' '.join(arguments)}: exit {done.code}")
        if code != done.code:
            raise Disagreement(f"{arguments}: exit {done.code}, not {code}: {done.err}")

    async def approve(self, name: str, model: Account) -> None:
        """Approve exactly, too few, or many removals of a zone, or what a run withheld."""
        runs = {
            image.withheld_by_run
            for zone in model.zones.values()
            for image in zone.images.values()
            if image.withheld and image.withheld_by_run
        }
        # What a second approval of the same images comes to is not said.
        runs -= {
            image.withheld_by_run
            for zone in model.zones.values()
            for image in zone.images.values()
            if image.approved
        }
        if runs and self.random.random() < 0.6:
            run_id = self.random.choice(sorted(runs))
            count = len(model.withheld_by(run_id))
            most = self.random.choice([count, count, count + 5, count - 1])
            if most < 1:
                return
            enough = most >= count
            await self.command(
                *("approve", "--run", str(run_id), "--max", str(most)), code=0 if enough else 1
            )
            if enough:
                model.approve_run(run_id)
            return
        latched = {
            zone_id: count
            for zone_id, zone in model.zones.items()
            if (count := sum(image.withheld for image in zone.images.values()))
        }
        if not latched and self.random.random() < 0.7:
            return
        zone_id = self.random.choice(sorted(latched or model.zones))
        count = latched.get(zone_id, 3)
        for _ in range(self.random.choice([1, 1, 1, 2])):
            most = max(1, self.random.choice([count, count, count - 1, count + 3, 1000]))
            await self.command("approve", "--account", name, zone_id, "--max", str(most))
            at = max(r["approved_at"] for r in await self.history.rows("approvals", name))
            if at <= model.newest:
                raise Disagreement(f"time line: approved at {at}, not after {model.newest}")
            model.approve(zone_id, most, at)

    async def retire(self, name: str, model: Account) -> None:
        """Say of a zone that is not listed that it is gone."""
        lost = [z for z, zone in model.zones.items() if zone.listed is False and not zone.gone]
        if not lost:
            return
        await self.command("retire", "--account", name, lost[0])
        (row,) = await self.history.rows("zones", name, f"zone_id = '{lost[0]}'")
        if row["gone_at"] is None or row["gone_at"] <= model.newest:
            raise Disagreement(f"retire: gone_at {row['gone_at']}, after {model.newest}")
        model.retire(lost[0], row["gone_at"])

    async def prune(self, name: str, model: Account) -> None:
        """Prune, or only thin; refused while the newest stamp is ahead of the clock."""
        history = self.history
        keep = self.random.choice(["2d", "3000d", "3000d"])
        ahead = model.newest - await history.clock()
        await self.command(
            *("prune", "--account", name, "--keep", keep, "--thin-after", "10m"),
            code=1 if ahead > 60_000_000 else 0,
        )
        history.thinned = True
        for row in await history.rows("zones", name, "kept_from is not null"):
            history.trimmed = True
            zone = model.zones[row["zone_id"]]
            newest = max((look.scan.finished for look in zone.looks), default=0)
            if row["kept_from"] > newest - 2 * oracle.DAY:
                raise Disagreement(f"prune: {row['zone_id']} kept from {row['kept_from']}")
            zone.kept_from = row["kept_from"]


def settings_of(ask: Pass) -> dict[str, str]:
    """The settings that a run is given: those that are not as ever."""
    names = {
        "SYNCER_GUARD_ZONE_COUNT": "zone_count",
        "SYNCER_GUARD_ZONE_PERCENT": "zone_percent",
        "SYNCER_GUARD_RUN_PERCENT": "run_percent",
    }
    given = {
        variable: "off" if (value := getattr(ask.limits, name)) is None else str(value)
        for variable, name in names.items()
        if getattr(ask.limits, name) != getattr(Limits(), name)
    }
    return given | ({"SYNCER_REMOVAL_LOOKS": str(ask.looks)} if ask.looks != 1 else {})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_answer_is_as_the_model_says(
    seed: int, simulator: Simulator, sync: Any, syncer: Any, db: Any
) -> None:
    """After each run of a random world, each image in every view and at every instant."""
    driver = Driver(seed, db, simulator, sync, syncer)
    try:
        await driver.live()
    except Exception as error:
        error.add_note("\n".join([f"{JUDGE.reading}", *driver.history.log]))
        raise
