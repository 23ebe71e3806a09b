"""Workers: who is there, which accounts wait for them, and whether their queue is reached.

Where no worker was ever started there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from syncer.config.settings import Settings
from syncer.core.hints import number
from syncer.core.moment import age
from syncer.doctor.checks import Check, Timing
from syncer.doctor.database import Session, session_check
from syncer.doctor.finding import Finding, failed, listed, ok, warning
from syncer.store import queue
from syncer.store.connection import Server, reading_transaction
from syncer.store.schedule import AccountState, WorkerState

_QUEUE: Final = "SYNCER_QUEUE_URL"
_UPGRADE: Final = "syncer db upgrade"
_START: Final = "start a 'syncer worker' that has their credentials"
_FORGET: Final = "if workers are to crawl it no more: syncer worker --forget NAME"


def checks(settings: Settings, session: Session, timing: Timing) -> list[Check]:
    """Return the checks of workers, after those of the database."""
    probes = _WorkerProbes(settings, session)
    found = [session_check("workers", probes.workers, timing, depends_on=("schema",))]
    if settings.queue is not None:
        found.append(
            Check(
                name="queue",
                probe=probes.queue,
                advice=f"is the pooler running, and reached from here? Else correct {_QUEUE}",
                fix=f"correct {_QUEUE}; it is the same database as SYNCER_DATABASE_URL",
                depends_on=(_QUEUE, "schema"),
                timeout=timing.connect,
            )
        )
    return found


class _WorkerProbes:
    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings = settings
        self._session = session

    async def workers(self) -> Sequence[Finding]:
        """Read who is there, and which accounts wait."""
        accounts = [AccountState(**row) for row in await self._session.rows("schedule/accounts")]
        workers = [WorkerState(**row) for row in await self._session.rows("schedule/workers")]
        ours = {each.name: each.every for each in self._settings.accounts if each.api.credentials}
        findings = judge_workers(accounts, workers, ours)
        if findings and not await self._session.value("schema/queue_there"):
            message = "the schema of the queue is missing (a restore brings none)"
            findings.append(failed("workers", message, f"where there is procrastinate: {_UPGRADE}"))
        return findings

    async def queue(self) -> Sequence[Finding]:
        """Reach the queue as a worker does."""
        assert self._settings.queue is not None  # noqa: S101  (else there is no such check)
        server = Server(self._settings.queue)
        reading = server.reading(name="syncer doctor")
        async with reading as connection, reading_transaction(connection):
            await queue.check(connection, server.where)
        return [ok("queue", f"reached at {server.where}")]


def judge_workers(
    accounts: Sequence[AccountState],
    workers: Sequence[WorkerState],
    every: Mapping[str, float] = MappingProxyType({}),
) -> list[Finding]:
    """Judge who is there, and whether anybody crawls what is due.

    ``every`` are the intervals of the accounts that have credentials here, in seconds.
    """
    if not accounts and not workers:
        return []
    there = [each for each in workers if each.alive and not each.draining]
    if not there:
        message = f"no worker is there; they crawl {number(len(accounts), 'account')}"
        return [failed("workers", message, f"start a 'syncer worker'; {_FORGET}")]
    findings = [ok("workers", _described(accounts, there))]
    if unserved := [each.account for each in accounts if each.workers == 0]:
        message = f"no worker has the credentials of {listed(unserved)}"
        findings.append(failed("workers", message, f"{_START}; {_FORGET}"))
    late = [each for each in accounts if each.state == "late" and each.workers]
    if late:
        longest = max(late, key=lambda each: each.overdue)
        message = (
            f"{number(len(late), 'account')} are late, {longest.account} by {age(longest.overdue)}"
        )
        advice = "start more workers, or let each crawl more at once: SYNCER_ACCOUNTS_AT_ONCE"
        findings.append(warning("workers", message, advice))
    unlike = [each for each in accounts if every.get(each.account, each.every) != each.every]
    if unlike:
        one = unlike[0]
        message = (
            f"{listed([each.account for each in unlike])}: crawled every {age(one.every)}, while "
            f"the settings here say {age(every[one.account])}"
        )
        advice = "the worker started last decides: give all of them one SYNCER_EVERY, then restart"
        findings.append(warning("workers", message, advice))
    if lost := [each.worker for each in workers if not each.alive]:
        message = f"not seen for a minute or more: {listed(lost)}"
        advice = "killed, frozen, cut off? Others take its accounts, those at work when time is up"
        findings.append(warning("workers", message, advice))
    return findings


def _described(accounts: Sequence[AccountState], there: Sequence[WorkerState]) -> str:
    running = sum(each.state == "running" for each in accounts)
    places = sum(each.at_once for each in there)
    waiting = sum(each.state in {"due", "late"} for each in accounts)
    return (
        f"{number(len(there), 'worker')} for {number(len(accounts), 'account')}: {running} of "
        f"{number(places, 'place')} taken, {waiting} due"
    )
