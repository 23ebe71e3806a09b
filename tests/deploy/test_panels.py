"""What the panels mean: each says of a night planted by hand what was worked out by hand.

The night is in ``tests/data/panels.sql``; hours are counted as it does, and ages from now.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from tests.deploy.night import Night
from tests.deploy.panels import dashboards, defaults, expand, panels, queries
from tests.deploy.tools import run, tool

DASHBOARDS: Final = dashboards()
FRA, HKG, SIN, LAX, TYO = ("a vm FRA-A", "a vm HKG-A", "a vm SIN-A", "a vm LAX-A", "a zec tyo-1")
UBUNTU, DEBIAN, ROCKY, OWN = "Ubuntu 22.04", "Debian 12", "Rocky 9", "O'Brien's own"


def hours(*spans: tuple[Iterable[int], float]) -> dict[int, float]:
    """Return values by hour."""
    return {hour: value for each, value in spans for hour in each}


WHOLE: Final = (*range(7), 8, 9, 10, 11)
"""The hours in which a had a run that ended."""
Table = tuple[str, list[tuple[Any, ...]]]


def overview_now(n: Night) -> dict[str, Table]:
    """Two of six are stale or gone, and b never listed a zone; a's limit is 2.5 h, b's one hour."""
    a = 9000
    looks = [
        ("HKG-A", n.age(3, 1), n.share(3, 1, a), "gone", 0),
        ("LAX-A", n.age(5, 1), n.share(5, 1, a), "failed", 1),
        ("SIN-A", n.age(10, 1), n.share(10, 1, a), "failed", 2),
        ("tyo-1", n.age(10, 1), n.share(10, 1, a), "failed", 1),
        ("FRA-A", n.age(11, 1), n.share(11, 1, a), "unchanged", 3),
    ]
    troubles = ["gone", "stale, last scan failed", "removals withheld, last scan failed"]
    troubles.append("last scan failed")
    errors = ["NO_ZONE: not offered", *["HTTP_503: no answer"] * 3]
    approve = "syncer approve --account a --service vm --max 2 SIN-A"
    return {
        "Can it be trusted now?": ("trust", [(1,)]),
        "Stale zones": ("stale_zones", [(1,)]),
        "Oldest whole look": ("age of_limit", [looks[1][1:3]]),
        "Zones unknown or gone": ("unknown_zones", [(1,)]),
        "Withheld removals": ("withheld", [(2,)]),
        "Since the last good run": ("since_last_run of_limit", [(n.age(9), n.share(9, 0, 3600))]),
        "Zones to look at": (
            "zone look_age of_limit last_scan present trouble error withheld attempted",
            [
                (
                    *look,
                    trouble,
                    error,
                    2 * (look[0] == "SIN-A"),
                    n.at(4 + 7 * (look[0] != "HKG-A"), 1),
                )
                for look, trouble, error in zip(looks, troubles, errors, strict=False)
            ],
        ),
        "Last run of each account": (
            "account run status started took last_good stale_after zones not_whole error",
            [
                ("a", 14, "partial", n.at(11), 120, n.age(10, 2), 9000, 4, 3, ""),
                ("b", 17, "failed", n.at(11), 60, None, 3600, 0, 0, "DENIED: wrong key"),
            ],
        ),
        "Freshness of every zone": ("zone look_age of_limit last_scan present", looks),
        "Withheld by the guard": (
            "account service zone withheld present since command approved",
            [("a", "vm", "SIN-A", 2, 2, n.at(8, 1.5), approve, "up to 5")],
        ),
    }


def overview_then(n: Night) -> dict[str, Table]:
    """What is there, and what happened."""
    there = {"FRA-A": "Debian Rocky Ubuntu", "SIN-A": "Rocky Ubuntu", "LAX-A": "Ubuntu"}
    here = [(f"a vm {zone}", names) for zone, names in there.items()] + [(TYO, "Rocky")]
    return {
        "Errors": (
            "error service scans zones last_seen message",
            [
                ("HTTP_503", "vm", 6, 2, n.at(11, 1.5), "no answer"),
                ("HTTP_503", "zec", 1, 1, n.at(11, 1.5), "no answer"),
                ("NO_ZONE", "vm", 1, 1, n.at(4, 1.5), "not offered"),
            ],
        ),
        "Images present, by zone and category": (
            "zone category images",
            [
                (zone, category, int(category in names))
                for zone, names in here
                for category in ("Debian", "Rocky", "Ubuntu")
            ],
        ),
        "Images present, by status": ("status images", [("AVAILABLE", 6), ("UNAVAILABLE", 1)]),
        "Zones with most changes": (
            "account service zone changes appeared changed removed returned",
            [("a", "vm", "FRA-A", 5, 1, 1, 2, 1), ("a", "vm", "LAX-A", 1, 0, 1, 0, 0)],
        ),
        "Workers there": ("workers", [(1,)]),
        "Free places": ("free", [(4,)]),
        "Accounts at work": ("running", [(0,)]),
        "Accounts due": ("due", [(1,)]),
        "Accounts late": ("late", [(1,)]),
        "Accounts without a worker": ("unserved", [(1,)]),
        "Who is there": (
            "worker state running places accounts crawls",
            [("host.1", "there", 0, 4, 2, None), ("host.2", "lost", 0, 4, 1, None)],
        ),
        "Accounts of workers": (
            "account state every workers failures",
            [("c", "late", 900, 0, 0), ("b", "waiting", 900, 1, 0)],
        ),
    }


def drift_changes(n: Night) -> dict[str, Table]:
    """Six changes: i2 and i3 are removed, i4 comes for i2, i3 returns, i1 and i10 change."""
    return {
        "Changes in this time": ("appeared changed removed returned", [(1, 2, 2, 1)]),
        "What changed about images": ("field changes", [("image_status", 1), ("image_version", 1)]),
        "Change feed": (
            "seen kind zone image id field old new last_seen_before run",
            [
                (n.at(at, 1), kind, zone, name, image, *what, n.at(at - 1, 1), at + 3)
                for at, kind, zone, name, image, what in (
                    (6, "removed", "FRA-A", DEBIAN, "i2", (None,) * 3),
                    (6, "appeared", "FRA-A", DEBIAN, "i4", (None,) * 3),
                    (5, "changed", "FRA-A", UBUNTU, "i1", ("image_version", "1", "2")),
                    (
                        3,
                        "returned",
                        "FRA-A",
                        ROCKY,
                        "i3",
                        ("image_description", "as it was", "new"),
                    ),
                    (2, "removed", "FRA-A", ROCKY, "i3", (None,) * 3),
                    (
                        1,
                        "changed",
                        "LAX-A",
                        UBUNTU,
                        "i10",
                        ("image_status", "AVAILABLE", "UNAVAILABLE"),
                    ),
                )
            ],
        ),
        "Removed and not back": (
            "removed last_seen account service zone image id",
            [(n.at(6, 1), n.at(5, 1), "a", "vm", "FRA-A", DEBIAN, "i2")],
        ),
        "Images that changed most": (
            "image service changes zones removed returned last_change",
            [
                (DEBIAN, "vm", 2, 1, 1, 0, n.at(6, 1)),
                (ROCKY, "vm", 2, 1, 1, 1, n.at(3, 1)),
                (UBUNTU, "vm", 2, 2, 0, 0, n.at(5, 1)),
            ],
        ),
        "New names": (
            "first_seen image service zones zone_ids",
            [(n.at(6, 1), DEBIAN, "vm", 1, "FRA-A")],
        ),
        "What took their place": (
            "went how zone image id instead instead_id version status rule candidate came",
            [
                (
                    n.at(6, 1),
                    "removed",
                    "FRA-A",
                    DEBIAN,
                    "i2",
                    DEBIAN,
                    "i4",
                    "12",
                    "AVAILABLE",
                    "same_name",
                    1,
                    n.at(6, 1),
                )
            ],
        ),
        "Not listed, and not known to be gone": (
            "since until ended_by rule zone image id last_listed namesake",
            [
                (
                    n.at(8, 1.5),
                    None,
                    "open",
                    "turned_over",
                    "SIN-A",
                    "Old 1",
                    "i6",
                    n.at(6, 1),
                    None,
                ),
                (
                    n.at(8, 1.5),
                    None,
                    "open",
                    "turned_over",
                    "SIN-A",
                    "Old 2",
                    "i7",
                    n.at(6, 1),
                    None,
                ),
                (n.at(1, 1.5), n.at(2, 1.5), "seen", None, "SIN-A", ROCKY, "i9", n.at(0, 1), None),
            ],
        ),
        "Outages": (
            "since until what lasted zone image id",
            [
                (n.at(6, 1), None, "removed", n.age(6, 1), "FRA-A", DEBIAN, "i2"),
                (n.at(1, 1), None, "UNAVAILABLE", n.age(1, 1), "LAX-A", UBUNTU, "i10"),
                (n.at(2, 1), n.at(3, 1), "removed", 3600, "FRA-A", ROCKY, "i3"),
            ],
        ),
    }


def drift_state(n: Night) -> dict[str, Table]:
    """Baselines (3e1 GiB is 30), zones beside each other, and lives of images."""
    start = n.at(0)
    lives = [
        *((start, FRA, "i1", "1"), (start, FRA, "i2", "12"), (start, FRA, "i3", "9")),
        *((start, LAX, "i10", "2"), (n.at(1, 1), LAX, "i10", "2 UNAVAILABLE")),
        *(
            (n.at(2, 1), FRA, "i3", "absent"),
            (n.at(3, 1), FRA, "i3", "9"),
            (n.at(5, 1), FRA, "i1", "2"),
        ),
        *((n.at(6, 1), FRA, "i2", "absent"), (n.at(6, 1), FRA, "i4", "12")),
    ]
    return {
        "Baselines": (
            "baseline images as_saved changed removed unknown",
            [("golden", 5, 1, 1, 1, 2)],
        ),
        "Not offered alike": (
            "image offered missing missing_in differs versions statuses",
            [
                (ROCKY, 2, 1, "LAX-A", "zones", "9", "AVAILABLE"),
                (UBUNTU, 3, 0, "", "image_status", "2", "AVAILABLE, UNAVAILABLE"),
                (DEBIAN, 1, 2, "LAX-A, SIN-A", "zones", "12", "AVAILABLE"),
            ],
        ),
        "Zones that lack most": ("zone names", [(LAX, 1)]),
        "Timeline": ("time zone id state", sorted(lives)),
        "Versions": (
            "from to zone id version status size description",
            [
                (n.at(6, 1), None, "FRA-A", "i4", "12", "AVAILABLE", 30, "as it was"),
                (n.at(5, 1), None, "FRA-A", "i1", "2", "AVAILABLE", 30, "as it was"),
                (n.at(3, 1), None, "FRA-A", "i3", "9", "AVAILABLE", 30, "new"),
                (n.at(1, 1), None, "LAX-A", "i10", "2", "UNAVAILABLE", 30, "as it was"),
                (n.at(-2, 1), n.at(5, 1), "FRA-A", "i1", "1", "AVAILABLE", 30, "as it was"),
                (n.at(-2, 1), n.at(6, 1), "FRA-A", "i2", "12", "AVAILABLE", 30, "as it was"),
                (n.at(-2, 1), n.at(2, 1), "FRA-A", "i3", "9", "AVAILABLE", 30, "as it was"),
                (n.at(-2, 1), n.at(1, 1), "LAX-A", "i10", "2", "AVAILABLE", 30, "as it was"),
            ],
        ),
    }


def operations(n: Night) -> dict[str, Table]:
    """Who approved, what is kept; of LAX-A five scans failed, one of them thinned out."""
    spells = [("SIN-A", 11, "failed", 1), ("tyo-1", 11, "failed", 1)]
    spells += [("LAX-A", 6, "failed", 5), ("HKG-A", 4, "gone", 1)]
    return {
        "Rates that were learnt": (
            "account calls_per_second learnt_at run",
            [("a", 7.5, n.at(6, 1), 9)],
        ),
        "Spells without a whole look": (
            "zone since until state scans error",
            [
                (zone, n.at(at, 1.5), None, how, scans, "NO_ZONE" if how == "gone" else "HTTP_503")
                for zone, at, how, scans in spells
            ],
        ),
        "Approvals that wait": ("pending", [(1,)]),
        "Who let what through": (
            "approved by zone up_to outcome decided candidates removed run",
            [
                (n.at(9.5), "bob", "SIN-A", 5, "pending", None, None, 0, None),
                (n.at(5.5), "ann", "FRA-A", 2, "applied", n.at(6, 1), 1, 1, 9),
            ],
        ),
        "Changes numbered": ("newest pruned_to", [(16, 0)]),
        "What is kept": (
            "account first_run kept_from runs zones retired",
            [("a", n.at(-2), n.at(-3), 12, 5, 0)],
        ),
    }


CHANGES: Final = {
    "appeared": {6: 1.0},
    "changed": {1: 1.0, 5: 1.0},
    "removed": {2: 1.0, 6: 1.0},
    "returned": {3: 1.0},
}
SERIES: Final[dict[str, dict[str, dict[int, float]]]] = {
    "overview: Run results": {
        "succeeded": hours((range(6), 1)),
        "partial": hours(((6, 8, 9, 10, 11), 1)),
        "crashed": {7: 1},
        "failed": hours(((9, 10, 11), 1)),
    },
    "overview: Run duration": {"a": hours((WHOLE, 120)), "b": hours(((9, 10, 11), 60))},
    "overview: Scans of each zone": {  # 0 unchanged, 1 changed, 3 withheld, 4 failed, 5 gone
        FRA: hours(((0, 1, 4, 8, 10, 11), 0), ((2, 3, 5, 6), 1)),
        HKG: hours((range(4), 0), ((4,), 5)),
        SIN: hours((range(7), 0), ((8, 9, 10), 3), ((11,), 4)),
        LAX: hours(((0, 2, 3, 4, 5), 0), ((1,), 1), ((6, 8, 10, 11), 4)),
        TYO: hours(((0, 1, 5, 6, 8, 9, 10), 0), ((3,), -1), ((11,), 4)),
    },
    "overview: Zones read whole": {
        "a": hours((range(6), 1), ((6, 8, 9, 10), 0.75), ((11,), 0.25)),
    },
    "overview: API calls a second": {
        "calls": hours((WHOLE, 0.1), ((6,), 0.2), ((9, 10, 11), 14 / 180)),
        "retries": hours((WHOLE, 0), ((6,), 0.05)),
    },
    "overview: Images listed by whole looks": {
        "vm": hours(((0, 3), 9), ((1, 2, 4, 5, 6), 8), ((8, 9, 10, 11), 6)),
        "zec": hours((WHOLE, 1)),
    },
    "overview: Changes by kind": CHANGES,
    "overview: Withheld over time": {SIN: hours((range(7), 0), ((8, 9, 10), 2))},
    "drift: Changes by kind": CHANGES,
    "drift: How exact the times are": {
        line: hours(((1, 2, 3, 5, 6), 3600)) for line in ("half", "95 %", "all")
    },
}


@pytest.mark.parametrize("make", [overview_now, overview_then])
async def test_the_overview_says_what_is_so(night: Night, make: Any) -> None:
    """Each number is what the night comes to, whatever the time range where it is about now."""
    for title, (columns, rows) in make(night).items():
        assert rows == await night.table(f"overview: {title}", columns), title
    # Of b alone no zone was ever listed
    assert [(2,)] == await night.table("overview: Can it be trusted now?", "trust", account=["b"])


@pytest.mark.parametrize("make", [drift_changes, drift_state])
async def test_drift_says_what_is_so(night: Night, make: Any) -> None:
    """Changes, gaps, outages, replacements and lives."""
    for title, (columns, rows) in make(night).items():
        found = await night.table(f"drift: {title}", columns)
        assert rows == (sorted(found) if title == "Timeline" else found), title


async def test_operations_says_what_is_so(night: Night) -> None:
    """Approvals, spells, rates, and what is kept; sizes are what PostgreSQL says of itself."""
    for title, (columns, rows) in operations(night).items():
        assert rows == await night.table(f"operations: {title}", columns), title
    size = await night.reader.fetchval("select pg_database_size(current_database())")
    assert [(size,)] == await night.table("operations: Database", "size")
    tables = await night.table("operations: Largest tables", "name size")
    assert 8 == len(tables)
    assert {"runs", "images", "image_history"} <= {name for name, _ in tables}
    assert size > sum(size for _, size in tables) > 0
    # Of four zones that are there LAX-A is stale from hour 7.5, tyo-1 between 3.5 and 5
    fresh = [row["value"] for row in await night.rows("operations: Zones that were fresh")]
    assert (1, 0.75, 0.75, 25) == (fresh[0], min(fresh), fresh[-1], len(fresh))


async def test_a_command_for_pasting_is_quoted_for_the_shell(night: Night) -> None:
    """The zone of bmc is one that a shell would take for its files; others could be an option."""
    for zone, shown in (("*", "'*'"), ("it's", "'it'\"'\"'s'"), ("-1", "-- -1")):
        rename = (
            "update syncer_store.zones set service = 'bmc', zone_id = {} where zone_id = 'SIN-A'"
        )
        async with night.but(rename.format("'" + zone.replace("'", "''") + "'")):
            (row,) = await night.table("overview: Withheld by the guard", "command")
        assert (f"syncer approve --account a --service bmc --max 2 {shown}",) == row


RETIRED = """
    update syncer_store.zones set gone_at = pg_temp.h(9, 30) where zone_id = 'LAX-A';
    insert into syncer_store.retirements (zone_key, retired_at, retired_by)
    select zone_key, gone_at, 'ann' from syncer_store.zones where zone_id = 'LAX-A'"""


async def test_a_zone_that_a_person_retired_is_gone_from_then_on(night: Night) -> None:
    """No scan says so: its images are listed no more, and its spell is shown."""
    late = night.since(night.at(10))
    async with night.but(RETIRED):
        listed = (await night.series("overview: Images listed by whole looks"))["vm"]
        spells = await night.table("operations: Spells without a whole look", SPELL)
        after = await late.table("operations: Spells without a whole look", SPELL)
    assert [6, 5, 5, 5] == [listed[hour] for hour in (8, 9, 10, 11)]
    half = night.at(9.5)
    assert ("LAX-A", half, None, "gone", "retired by ann") in spells
    assert ("LAX-A", night.at(6, 1.5), half, "failed", "HTTP_503") in spells
    began_before = {("LAX-A", half), ("HKG-A", night.at(4, 1.5))}
    assert began_before == {row[:2] for row in after if row[1] < night.at(10)}


SPELL = "zone since until state error"


async def test_a_zone_that_was_not_seen_yet_was_not_stale(night: Night) -> None:
    """One that came a minute ago, and is not read yet, changes nothing of what was."""
    name = "operations: Zones that were fresh"
    before = await night.rows(name)
    async with night.but("""
        insert into syncer_store.zones (account, service, zone_id, first_seen_at)
        values ('a', 'vm', 'NEW-A', now() - interval '1 second')"""):
        assert before[:-1] == (await night.rows(name))[:-1]


async def test_lines_say_what_is_so(night: Night) -> None:
    """What thinning left out is no dip, what held before is drawn on, and nothing is made up."""
    for name, lines in SERIES.items():
        assert lines == await night.series(name), name
    scans = await night.series("overview: Scans of each zone", stale="1 hour")
    assert {hour for hour, value in scans[FRA].items() if value == -1} == {
        7
    }  # of 8 and 9 one is kept


async def test_a_run_that_began_long_before_is_seen(night: Night) -> None:
    """What the end of a long run brought is in a time that begins after its start."""
    late = night.since(night.at(6, 0.5))
    longer = (
        "update syncer_store.runs set started_at = started_at - interval '5 h' where run_id = 9"
    )
    async with night.but(longer):
        changes = await late.table("drift: Changes in this time", "appeared removed")
        errors = await late.table("overview: Errors", "error service scans")
    assert [(1, 1)] == changes
    assert ("HTTP_503", "vm", 6) == errors[0]


async def test_a_timeline_is_unknown_where_nobody_can_say(night: Night) -> None:
    """While the zone is gone, and while whole looks do not list the image."""
    rows = await night.table("drift: Timeline", "time id state", image=["i5", "i6", "i9"])
    start = night.at(0)
    assert sorted(rows) == sorted(
        [
            *((start, "i5", "2"), (night.at(4, 1.5), "i5", "unknown")),
            *((start, "i6", "1"), (night.at(8, 1.5), "i6", "unknown")),
            *(
                (start, "i9", "9"),
                (night.at(1, 1.5), "i9", "unknown"),
                (night.at(2, 1.5), "i9", "9"),
            ),
        ]
    )
    late = night.since(night.at(5))
    rows = await late.table("drift: Timeline", "time id state", image=["i5"])
    assert [(night.at(5), "i5", "unknown")] == rows  # it was gone before this time began


def test_every_panel_has_its_numbers() -> None:
    """A panel that is not in this file fails it."""
    nobody: Any = Night(None, datetime.now(UTC), datetime.now(UTC))
    known = {f"overview: {t}" for make in (overview_now, overview_then) for t in make(nobody)}
    known |= {f"drift: {title}" for make in (drift_changes, drift_state) for title in make(nobody)}
    known |= {f"operations: {title}" for title in operations(nobody)} | SERIES.keys()
    known |= {
        "operations: Database",
        "operations: Largest tables",
        "operations: Zones that were fresh",
    }
    known |= {f"operations: {title}" for title in LINES}
    every = {f"{name}: {p['title']}" for name, d in DASHBOARDS.items() for p in panels(d)}
    assert every == known


async def test_a_search_finds_names_with_quotes(night: Night) -> None:
    """What is typed is no SQL, whether this Grafana doubles its quotes or not."""
    (variable,) = (q for q in queries() if str(q) == "drift: variable image")
    choice = defaults(DASHBOARDS["drift"])
    for typed in ("O'Bri", "O''Bri", "brien"):
        statement = expand(variable, choice, night.begin, night.now, "1h", search=typed)
        assert [OWN] == [row[0] for row in await night.reader.fetch(statement)], typed
    for typed in ("'; select 1 --", "$"):
        statement = expand(variable, choice, night.begin, night.now, "1h", search=typed)
        assert [] == await night.reader.fetch(statement), typed


LINES: Final = {
    "Calls by result": {'{result="ok"}': 1.0, '{result="throttled"}': 0.25},
    "How long calls take": {"half": 0.1, "95 %": 0.19, "99 %": 0.198},
    "Share of calls throttled": {'{account="a"}': 0.2},
    "Calls a second that are allowed": {'{account="a"}': 7.5},
}
"""What the panels of metrics come to, by series, or by line where each has a query of its own."""
CALLS: Final = 'syncer_calls_total{account="%s", action="DescribeImages", result="%s"}'
BUCKET: Final = (
    'syncer_call_duration_seconds_bucket{account="%s", action="DescribeImages", le="%s"}'
)
METRICS: Final = {
    CALLS % ("a", "ok"): "0+60x120",
    CALLS % ("a", "throttled"): "0+15x120",
    CALLS % ("b", "ok"): "0+999x120",
    BUCKET % ("a", "0.1"): "0+30x120",
    BUCKET % ("a", "0.2"): "0+60x120",
    BUCKET % ("a", "+Inf"): "0+60x120",
    BUCKET % ("b", "+Inf"): "0+60x120",
    'syncer_call_rate_per_second{account="a"}': "5x50 7.5 _x60",
    'syncer_call_rate_per_second{account="b"}': "99x120",
}
"""Samples a minute; those of b are not chosen."""


def test_the_panels_of_metrics_say_what_is_so(tmp_path: Path) -> None:
    """Calls a second, their times and their limits, by a real PromQL engine; of one account."""
    promtool = tool("promtool", "prometheus")
    tests = []
    for panel in panels(DASHBOARDS["operations"]):
        for target in panel["targets"] if panel["title"] in LINES else ():
            expression = target["expr"].replace("${chosen}", "a")
            expression = expression.replace("$__rate_interval", "16m").replace("$__interval", "15m")
            expected = LINES[panel["title"]]
            if target["legendFormat"] in expected:
                expected = {"{}": expected[target["legendFormat"]]}
            samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
            tests.append({"expr": expression, "eval_time": "55m", "exp_samples": samples})
    assert 6 == len(tests)
    series = [{"series": name, "values": values} for name, values in METRICS.items()]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    document = tmp_path / "panels.test.yml"
    with document.open("w") as file:
        YAML(typ="safe").dump({"evaluation_interval": "1m", "tests": [case]}, file)
    run(promtool, "test", "rules", document)
