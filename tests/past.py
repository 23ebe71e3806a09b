"""A past made up by chance, written as the crawler would have written it.

Zones are read whole, or in part, or fail, or go and come back; images appear, change, are removed
and return; the crawler is switched off for months; a zone is left out of a run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

DAY: Final = timedelta(days=1)
STEP: Final = timedelta(milliseconds=1)
GAPS: Final = [DAY / 72, DAY / 5, DAY / 3, DAY, 2 * DAY, 40 * DAY]
OUTCOMES: Final = ["whole"] * 8 + ["incomplete", "failed", "gone", "nothing"]
SCAN: Final = [
    "zone_key",
    "run_id",
    "started_at",
    "observed_at",
    "finished_at",
    "status",
    "listed",
    "images",
    "appeared",
    "changed",
    "removed",
    "returned",
    "withheld",
    "rejected",
    "last_change",
    "error_code",
]
OPENED: Final = [
    "opened_kind",
    "opened_run_id",
    "opened_ordinal",
    "opened_not_before",
    "changed_fields",
]
REMOVED: Final = ["removed_run_id", "removed_ordinal", "removed_not_before"]
VERSION: Final = ["image_name", "image_version", "valid_from", *OPENED, *REMOVED]
RUN: Final = [
    "run_id",
    "account",
    "started_at",
    "finished_at",
    "deadline_at",
    "status",
    "syncer_version",
    "change_base",
    "changes",
]


class Past:
    """Runs of one account over a few zones, up to ``end``; ``write`` puts them into a database."""

    def __init__(self, seed: int, end: datetime, *, runs: int, account: str = "a") -> None:
        self.random = Random(seed)  # noqa: S311
        self.account = account
        self.zones = [f"Z-{number}" for number in range(self.random.randint(1, 3))]
        self.moody = self.random.choice([0.02, 0.2, 0.6])
        """How often anything but the same as before comes of a look."""
        self.now = end
        self.runs: list[dict[str, Any]] = []
        self.scans: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []
        self.latest: dict[tuple[str, str], dict[str, Any]] = {}
        self.last_whole: dict[str, datetime] = {}
        self.gone_at: dict[str, datetime | None] = dict.fromkeys(self.zones)
        gaps = [self.random.choice(GAPS[:3] * 6 + GAPS) for _ in range(runs)]
        self.now -= sum(gaps, timedelta())
        for gap in gaps:
            self.now += gap
            self._run()

    def _tick(self) -> datetime:
        self.now += STEP * self.random.randint(1, 900)
        return self.now

    def _run(self) -> None:
        self.ordinal = 0
        run_id = len(self.runs) + 1
        started, base = self._tick(), sum(run["changes"] for run in self.runs)
        for zone in self.zones:
            moody = self.random.random() < self.moody
            outcome = self.random.choice(OUTCOMES) if moody else "same"
            if outcome != "nothing" and not (outcome == "same" and self.gone_at[zone]):
                self._scan(run_id, zone, outcome)
        ended = (self._tick(), self.now, "succeeded", "", base, self.ordinal)
        self.runs.append(dict(zip(RUN, (run_id, self.account, started, *ended), strict=True)))

    def _scan(self, run_id: int, zone: str, outcome: str) -> None:
        scan: dict[str, Any] = dict.fromkeys(SCAN, 0)
        scan |= {"zone_key": zone, "run_id": run_id, "listed": outcome != "gone"}
        scan |= {"started_at": self._tick(), "observed_at": self._tick(), "error_code": None}
        status = {"same": "unchanged", "whole": "unchanged"}.get(outcome, outcome)
        if outcome in {"whole", "incomplete"}:
            at = self._tick()
            for number in self.random.sample(range(6), self.random.randint(0, 3)):
                kind = self._see(run_id, zone, f"img-{number}", at)
                scan[kind] += 1
        if outcome == "whole":
            if self.random.random() < 0.5:
                at = self._tick()
                there = [k for k, v in self.latest.items() if k[0] == zone and not v["removed_at"]]
                for key in self.random.sample(there, len(there) // 2):
                    if self.latest[key]["valid_from"] < at:
                        self._remove(run_id, key, at)
                        scan["removed"] += 1
            if any(scan[kind] for kind in ("appeared", "changed", "removed", "returned")):
                status = "changed"
            elif self.random.random() < 0.3:
                status, scan["withheld"] = "guarded", 1
        if outcome in {"failed", "incomplete"}:
            scan["error_code"] = self.random.choice(["HTTP_503", "TORN_READ"])
        changed = status == "changed" or scan["appeared"] or scan["changed"] or scan["returned"]
        scan |= {"status": status, "finished_at": self._tick()}
        scan["last_change"] = self.ordinal if changed else 0
        self.scans.append(scan)
        if status in {"unchanged", "changed", "guarded"}:
            self.last_whole[zone] = scan["observed_at"]
            self.gone_at[zone] = None
        elif status == "gone":
            self.gone_at[zone] = self.gone_at[zone] or self.now

    def _see(self, run_id: int, zone: str, image: str, at: datetime) -> str:
        self.ordinal += 1
        before = self.latest.get((zone, image))
        kind = "appeared" if before is None else "returned" if before["removed_at"] else "changed"
        if before is not None:
            self.closed.append(before | {"valid_to": before["removed_at"] or at})
        self.latest[zone, image] = {
            "zone_key": zone,
            "image_id": image,
            "image_name": image,
            "image_version": str(run_id),
            "valid_from": at,
            "opened_kind": kind,
            "opened_run_id": run_id,
            "opened_ordinal": self.ordinal,
            "opened_not_before": self.last_whole.get(zone),
            "changed_fields": ["image_version"] if kind == "changed" else None,
            "removed_at": None,
            **dict.fromkeys(REMOVED),
        }
        return kind

    def _remove(self, run_id: int, key: tuple[str, str], at: datetime) -> None:
        self.ordinal += 1
        self.latest[key] |= {
            "removed_at": at,
            "removed_run_id": run_id,
            "removed_ordinal": self.ordinal,
            "removed_not_before": self.last_whole.get(key[0]),
        }

    async def write(self, db: Any) -> None:
        """Store it all."""
        keys = {}
        for zone in self.zones:
            there = [v for k, v in self.latest.items() if k[0] == zone and not v["removed_at"]]
            keys[zone] = await db.fetchval(
                "insert into syncer_store.zones (account, service, zone_id, first_seen_at, "
                "gone_at, present) values ($1, 'vm', $2, $3, $4, $5) returning zone_key",
                *(self.account, zone, self.now, self.gone_at[zone], len(there)),
            )
        first, base = await db.fetchrow("""
            select coalesce(max(run_id), 0), coalesce(max(change_base + changes), 0)
            from syncer_store.runs""")

        def placed(name: str, value: Any) -> Any:
            """Make room for what is stored already."""
            if name == "zone_key":
                return keys[value]
            more = base if name == "change_base" else first if name.endswith("run_id") else None
            return value if value is None or more is None else value + more

        latest = [row | {"fingerprint": b""} for row in self.latest.values()]
        key = ["zone_key", "image_id"]
        for table, columns, rows in (
            ("runs", RUN, self.runs),
            ("zone_scans", SCAN, self.scans),
            ("images", [*key, *VERSION, "removed_at", "fingerprint"], latest),
            ("image_history", [*key, *VERSION, "valid_to"], self.closed),
        ):
            records = [tuple(placed(name, row[name]) for name in columns) for row in rows]
            await db.copy_records_to_table(
                table, schema_name="syncer_store", columns=columns, records=records
            )
        await db.execute(
            "select setval(pg_get_serial_sequence('syncer_store.runs', 'run_id'), "
            "(select max(run_id) from syncer_store.runs))"
        )
