"""What is stored of one account: its runs and their lock, stale zones, withheld removals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from syncer.config.accounts import Account
from syncer.core.hints import approve_command, number, withheld_command
from syncer.core.moment import age
from syncer.doctor.checks import Check, Timing
from syncer.doctor.database import Session, session_check
from syncer.doctor.finding import Finding, failed, instant, listed, ok, warning
from syncer.store import keys as key_digests
from syncer.store.clock import CLOCK_BEHIND
from syncer.zenlayer.credentials import KeyPair
from syncer.zenlayer.sources import SOURCES, Source

_GONE_LATELY: Final = timedelta(days=7)
"""As long a zone that is gone is worth a warning."""
_FAILURES_IN_A_ROW: Final = 3
"""From this many runs on that failed one after another it is more than bad luck."""
_CONTRADICTIONS: Final = 2
"""In as many of the last ten runs a zone's list was contradicted: once is a change in between."""
_ZONES_SHOWN: Final = 10
"""As many zones with withheld removals have a line of their own."""
_NEVER: Final = timedelta.max


def checks(
    account: Account, session: Session, max_age: float, timing: Timing, *, whose: str | None
) -> list[Check]:
    """Return the checks of what is stored of an account, which say ``whose`` they are.

    ``max_age`` is how old a whole look may be (seconds).
    """
    probes = _InventoryProbes(account, session, max_age)
    stored = ("schema", "SYNCER_ACCOUNT", "SYNCER_SERVICES", f"accounts.{account.name}")
    of_account = [
        session_check("runs", probes.runs, timing, depends_on=stored),
        session_check("time_line", probes.time_line, timing, depends_on=stored),
        session_check("lock", probes.lock, timing, depends_on=("runs",)),
        session_check("zones", probes.zones, timing, depends_on=stored),
        session_check("gone_zones", probes.gone_zones, timing, depends_on=("zones",)),
        session_check("withheld", probes.withheld, timing, depends_on=("zones",)),
        session_check("listing", probes.listing, timing, depends_on=stored),
        session_check("rate_limit", probes.rate_limit, timing, depends_on=stored),
        session_check("keys", probes.keys, timing, depends_on=(*stored, "privileges")),
    ]
    return [msgspec.structs.replace(check, account=whose) for check in of_account]


class _InventoryProbes:
    """Reads in the session; runs and zones are kept for the checks that come after theirs."""

    def __init__(self, account: Account, session: Session, max_age: float) -> None:
        self._account = account.name
        self._services = list(account.services)
        self._credentials = account.api.credentials
        self._session = session
        self._max_age = max_age
        self._runs: list[RunSeen] = []
        self._zones: list[ZoneSeen] = []

    async def runs(self) -> Sequence[Finding]:
        """Read how the last runs ended."""
        rows = await self._session.rows("doctor/runs", self._account)
        self._runs = [RunSeen(**row) for row in rows]
        return [judge_runs(self._runs)]

    async def time_line(self) -> Sequence[Finding]:
        """Read whether anything is stamped later than the clock is now."""
        rows = await self._session.rows("doctor/time_line", self._account)
        return [judge_time_line(rows[0]["behind"] if rows else None)]

    async def lock(self) -> Sequence[Finding]:
        """Read who holds the run lock."""
        rows = await self._session.rows("doctor/lock", self._account)
        holder = Holder(**rows[0]) if rows else None
        return [judge_lock(holder, self._runs, await self._session.value("run/clock"))]

    async def zones(self) -> Sequence[Finding]:
        """Read how old what is known of each zone is."""
        rows = await self._session.rows("doctor/zones", self._account, self._services)
        self._zones = [ZoneSeen(**row) for row in rows]
        return [judge_zones(self._zones, self._max_age)]

    async def gone_zones(self) -> Sequence[Finding]:
        """Find zones that the API lists no more."""
        return [judge_gone_zones(self._zones)]

    async def withheld(self) -> Sequence[Finding]:
        """Find what the guard withholds."""
        return judge_withheld(self._zones, self._account)

    async def listing(self) -> Sequence[Finding]:
        """Find zones whose list contradicts the question by id, run after run."""
        rows = await self._session.rows(
            "read/contradictions", self._account, None, None, _CONTRADICTIONS
        )
        return [
            judge_listing([Contradicted(**row) for row in rows]),
            *(uncounted_list(name) for name in self._services if is_uncounted_list(SOURCES[name])),
        ]

    async def rate_limit(self) -> Sequence[Finding]:
        """Read what was learnt of the API's limit."""
        rows = await self._session.rows("doctor/rate_limit", self._account)
        return [judge_rate_limit(RateSeen(**rows[0]) if rows else None)]

    async def keys(self) -> Sequence[Finding]:
        """Find zones that were read under this name with another key, or under another with this.

        Of a bearer token, which is changed often, nothing is kept.
        """
        if not isinstance(self._credentials, KeyPair):
            return []
        async with self._session.reading() as connection:
            key_id = self._credentials.key_id
            ours = await key_digests.digest(connection, key_id=key_id, write=False)
        rows = await self._session.rows("doctor/keys", self._account, ours)
        return judge_keys(self._account, {row["account"]: row["zones"] for row in rows})


class RunSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A run; ``now`` is the database's clock when it was read."""

    run_id: int
    status: str
    started_at: datetime
    finished_at: datetime | None
    deadline_at: datetime
    error_code: str | None
    error_message: str | None
    zones: int
    images: int
    now: datetime


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that a run is at work in; its name is hidden from roles that are not its own."""

    pid: int
    application_name: str | None
    client: str | None

    def __str__(self) -> str:
        name = f"{self.application_name}, " if self.application_name else ""
        return f"{name}backend {self.pid}"


def judge_time_line(behind: float | None) -> Finding:
    """Judge by how many seconds the clock is behind what is stored (None: nothing is)."""
    if behind is None or behind <= CLOCK_BEHIND:
        return ok("time_line", "nothing is stamped later than the database's clock is now")
    return failed(
        "time_line",
        f"the database's clock is {age(timedelta(seconds=behind))} behind what is stored",
        "set the clock of the database's host right (NTP); if it is right now, it was ahead "
        "before: 'syncer db repair-clock' shows what it stamped then",
    )


def judge_lock(holder: Holder | None, runs: Sequence[RunSeen], now: datetime) -> Finding:
    """Judge who holds the run lock of the account; ``runs`` are newest first."""
    running = next((run for run in runs if run.status == "running"), None)
    if running is None:
        return ok("lock", "free: no run is at work")
    run = f"run {running.run_id}, at work since {instant(running.started_at)}"
    if holder is None:
        return warning(
            "lock",
            f"free, but {run}, has not ended: its process died",
            "nothing: the next run marks it crashed and repairs all",
        )
    held = f"held by {run} ({holder})"
    overdue = now - running.deadline_at
    if overdue <= timedelta():
        return ok("lock", held)
    return warning(
        "lock",
        f"{held}: it hangs, its time was up {age(overdue)} ago",
        f"the next syncer sync ends it and takes over; or end it now: "
        f"select pg_terminate_backend({holder.pid})",
    )


def judge_runs(seen: Sequence[RunSeen]) -> Finding:
    """Judge how the last runs ended; they are newest first."""
    ended = [run for run in seen if run.finished_at is not None]
    if not ended:
        return ok("runs", "none has ended yet" if seen else "none yet: syncer sync makes the first")
    last = ended[0]
    assert last.finished_at is not None  # noqa: S101  (chosen so)
    message = f"run {last.run_id} {last.status} {age(last.now - last.finished_at)} ago"
    bad = [run for run in ended if run.status in {"failed", "crashed"}]
    if last.status == "succeeded":
        also = f"; {len(bad)} of the last {len(ended)} failed or crashed" if bad else ""
        seen_then = f"{number(last.zones, 'zone')}, {number(last.images, 'image')}"
        return ok("runs", f"{message}: {seen_then}{also}")
    why = f": {last.error_message}" if last.error_message else ""
    if last.status == "partial":
        return warning("runs", f"{message}{why}", "syncer zones shows which zone (LAST)")
    streak = next((n for n, run in enumerate(ended) if run not in bad), len(ended))
    if streak < _FAILURES_IN_A_ROW:
        return warning("runs", f"{message}{why}", "run syncer sync again; syncer runs lists them")
    return failed(
        "runs",
        f"the last {streak} failed or crashed; {message}{why}",
        "fix what else is found here, then run syncer sync",
    )


class ZoneSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A zone; ``now`` is the database's clock when it was read."""

    service: str
    zone_id: str
    gone_at: datetime | None
    listed: bool
    last_complete_at: datetime | None
    last_status: str | None
    present_images: int
    withheld_removals: int
    approved_removals: int | None
    withheld_since: datetime | None
    rules: list[str]
    republished: int
    now: datetime

    @property
    def unseen(self) -> timedelta:
        """How long ago the last whole look was."""
        return self.now - self.last_complete_at if self.last_complete_at else _NEVER


def judge_zones(zones: Sequence[ZoneSeen], max_age: float) -> Finding:
    """Judge the age of what is known; ``max_age`` is how old it may be (seconds)."""
    there = [zone for zone in zones if zone.gone_at is None]
    if not there:
        return ok("zones", "none is known" if zones else "none yet: syncer sync finds them")
    stale = sorted(
        (zone for zone in there if zone.unseen > timedelta(seconds=max_age)),
        key=lambda zone: (zone.unseen, zone.zone_id),
        reverse=True,
    )
    if not stale:
        oldest = max(zone.unseen for zone in there)
        return ok("zones", f"all {len(there):,} had a whole look within {age(oldest)}")
    names = listed([f"{zone.zone_id} ({_unseen(zone)})" for zone in stale])
    if len(stale) < len(there):
        return warning(
            "zones",
            f"{len(stale):,} of {len(there):,} had no whole look for {age(max_age)}: {names}",
            "syncer zones shows what came of the last look, view zone_scans why",
        )
    return warning(
        "zones",
        f"none had a whole look for {age(max_age)}: {names}",
        "do runs still come (cron, systemd), and succeed? (--max-age TIME sets what is too old)",
    )


def _unseen(zone: ZoneSeen) -> str:
    return f"{age(zone.unseen)} ago" if zone.last_complete_at else "never"


def judge_gone_zones(zones: Sequence[ZoneSeen]) -> Finding:
    """Judge zones that the API no longer lists: nobody is warned of a gone one for ever."""
    left = [zone for zone in zones if zone.gone_at is not None]
    if unlisted := [zone.zone_id for zone in zones if zone.gone_at is None and not zone.listed]:
        return warning(
            "gone_zones",
            f"the API lists no more, but still answers for: {listed(unlisted)}",
            "were the credentials changed, or what they may see? each run reads these zones as "
            "before; one that is lost for good: syncer retire ZONE",
        )
    if not left:
        return ok("gone_zones", "none")
    names = listed([f"{z.zone_id} (since {instant(z.gone_at)})" for z in left if z.gone_at])
    if not any(zone.gone_at and zone.now - zone.gone_at < _GONE_LATELY for zone in left):
        return ok("gone_zones", f"none lately; before: {names}")
    return warning(
        "gone_zones",
        f"the API lists no more: {names}",
        "their images are unknown, not removed; nothing to do if Zenlayer closed the zone",
    )


def judge_withheld(zones: Sequence[ZoneSeen], account: str) -> list[Finding]:
    """Judge removals that wait for a person, a line for each zone."""
    tripped = [zone for zone in zones if zone.withheld_removals]
    if not tripped:
        return [ok("withheld", "the guard withholds no removal")]
    findings = [_judge_withheld_zone(zone, account) for zone in tripped[:_ZONES_SHOWN]]
    if (more := len(tripped) - _ZONES_SHOWN) > 0:
        findings.append(
            warning(
                "withheld",
                f"{number(more, 'more zone')} with withheld removals",
                "syncer zones lists them all (WITHHELD)",
            )
        )
    return findings


def _judge_withheld_zone(zone: ZoneSeen, account: str) -> Finding:
    count = zone.withheld_removals
    since = f" since {instant(zone.withheld_since)}" if zone.withheld_since else ""
    message = f"{zone.zone_id}: {number(count, 'removal')} of {zone.present_images:,} images{since}"
    message += f", by the guard's rule {', '.join(zone.rules)}" if zone.rules else ""
    if zone.republished:
        message += f"; {zone.republished:,} of {count:,} were republished under new ids"
    approve = approve_command(
        account=account, service=zone.service, zone=zone.zone_id, max_removals=count
    )
    if zone.approved_removals is None:
        look = withheld_command(zone.zone_id)
        return warning("withheld", message, f"look: {look}; if they are really gone: {approve}")
    if zone.approved_removals < count:
        return warning(
            "withheld",
            f"{message}; approved are at most {zone.approved_removals:,}, so none will pass",
            f"if they are really gone, approve them again: {approve}",
        )
    return ok("withheld", f"{message}; approved, they pass at the zone's next whole look")


class Contradicted(msgspec.Struct, frozen=True, kw_only=True):
    """A zone whose list lacked images that the API returned by id, in ``runs`` of the last runs."""

    service: str
    zone_id: str
    runs: int
    of_runs: int
    images: int
    image_id: str


def judge_listing(zones: Sequence[Contradicted]) -> Finding:
    """Judge lists that lack, run after run, what is there."""
    if not zones:
        return ok("listing", "what zones list is what the API returns by id")
    names = listed(
        [
            f"{zone.zone_id} ({zone.runs} of the last {zone.of_runs} runs, "
            f"{number(zone.images, 'image')}, {zone.image_id} for one)"
            for zone in zones
        ]
    )
    return warning(
        "listing",
        f"the list lacks images that the API returns by id: {names}",
        "nothing is removed by it; ask Zenlayer why; SYNCER_REMOVAL_LOOKS=2 asks less often",
    )


def is_uncounted_list(source: Source) -> bool:
    """Return whether all images come on one page, and nothing says how many there are."""
    return source.total is None and not source.paged


def uncounted_list(service: str) -> Finding:
    """Say what is known of a list that cannot prove itself whole."""
    return ok(
        "listing",
        f"{service} sends no count: a list that lacks an image is read again, which proves that it"
        " is stable, not that it is complete; what it lacks is asked for by id",
    )


class RateSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The rate at which the API took our calls; ``now`` is the database's clock."""

    calls_per_second: float
    learnt_at: datetime
    run_id: int
    now: datetime


def judge_rate_limit(seen: RateSeen | None) -> Finding:
    """Show what is known of the API's limit."""
    if seen is None:
        return ok("rate_limit", "the API never asked for fewer calls")
    return ok(
        "rate_limit",
        f"the API took {seen.calls_per_second:.3g} calls a second, learnt "
        f"{age(seen.now - seen.learnt_at)} ago by run {seen.run_id}",
    )


def judge_keys(account: str, zones: Mapping[str, int]) -> list[Finding]:
    """Judge the ``zones`` that this account read with another key, or others with its key."""
    findings = []
    others = {name: count for name, count in zones.items() if name != account}
    if count := zones.get(account):
        findings.append(
            warning(
                "keys",
                f"{number(count, 'zone')} of account {account} were last read with another key: "
                "what this one does not list is removed after a second look only",
                "nothing, if the key was replaced; else give each key a name of its own",
            )
        )
    if others:
        findings.append(
            warning(
                "keys",
                f"the key of account {account} read zones under another name too: "
                f"{listed(sorted(others))}",
                "give it one name in all settings: one key is one account",
            )
        )
    return findings or [ok("keys", "one key, under one name")]
