"""Runs of several accounts side by side, each as if it were alone.

They share the database's server and nothing else: what ends one, a refused key, a lock that is
held or its deadline, does not touch another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio
import msgspec

from syncer.core.errors import LockHeld, NoZone, SyncerError
from syncer.core.hints import ALL_LEFT_OUT, no_zone
from syncer.sync.report import Report
from syncer.sync.stop import Stop

_ORDER: Final = (2, 5, 1, 3, 4, 0)
"""Of several exit codes the first of these is that of the whole."""
_DONE: Final = {0, 3, 4}
"""With one of these at least some of what was asked for is stored."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the run of an account ended: with a report, or by an error that has a name."""

    account: str
    report: Report | None = None
    error: SyncerError | None = None

    @property
    def exit_code(self) -> int:
        """Return the documented exit code of the run."""
        if self.error is not None:
            return self.error.exit_code
        return self.report.exit_code if self.report is not None else 1

    @property
    def status(self) -> str:
        """Return the status of the run (``held``: another run was at work)."""
        if self.report is not None:
            return self.report.status
        return "held" if isinstance(self.error, LockHeld) else "failed"

    @property
    def left_out(self) -> bool:
        """Whether the account has no zone that is selected."""
        report = self.report
        return (
            report is not None
            and report.unmatched is not None
            and report.status == "succeeded"
            and not report.counts.zones
        )


async def run_all(
    runs: Mapping[str, Callable[[Stop], Awaitable[Report]]], *, at_once: int, stop: Stop
) -> list[Ended]:
    """Do a run of each account, ``at_once`` at a time; return how each ended, in their order.

    ``stop`` ends them all. An error without a name is a bug, and ends them all too.
    """
    ended = dict[str, Ended]()
    gate = anyio.Semaphore(at_once)

    async def one(account: str, run: Callable[[Stop], Awaitable[Report]]) -> None:
        own = Stop()  # one that its deadline ends does not end the others
        async with gate:
            stop.listeners.append(own.now)
            if stop.reason is not None:
                own.now(stop.reason)
            try:
                ended[account] = Ended(account=account, report=await run(own))
            except SyncerError as error:
                ended[account] = Ended(account=account, error=error)

    async with anyio.create_task_group() as tasks:
        for account, run in runs.items():
            tasks.start_soon(one, account, run)
    return [ended[account] for account in runs]


def require_matches(ended: Sequence[Ended], globs: Sequence[str]) -> None:
    """Raise ConfigError where a glob matches in no account, or together they select nothing.

    An account whose zones could not be listed might have had it.
    """
    lists = [one.report.unmatched if one.report is not None else None for one in ended]
    known = [unmatched for unmatched in lists if unmatched is not None]
    if not globs or len(known) < len(ended):
        return
    if nowhere := _nowhere(known, globs):
        raise no_zone(nowhere)
    if all(one.left_out for one in ended) and not any(
        one.report.still_gone for one in ended if one.report is not None
    ):
        raise NoZone(ALL_LEFT_OUT)


def unmatched_as_known(ended: Sequence[Ended], globs: Sequence[str]) -> str | None:
    """Return which globs match in none of the accounts whose zones are known, where some are not.

    Such a glob may be misspelt, or mean a zone of one that could not be listed.
    """
    known = {
        one.account: one.report.unmatched
        for one in ended
        if one.report is not None and one.report.unmatched is not None
    }
    nowhere = _nowhere(list(known.values()), globs)
    if not nowhere or not known or len(known) == len(ended):
        return None
    return f"no zone of {', '.join(known)} matches {' '.join(nowhere)}"


def _nowhere(known: Sequence[Sequence[str]], globs: Sequence[str]) -> list[str]:
    """Return the globs that each of these lists of unmatched ones holds."""
    return [glob for glob in globs if all(glob in unmatched for unmatched in known)]


def exit_code(ended: Sequence[Ended]) -> int:
    """Return the exit code of all together.

    Where any account was read, that another failed or was held leaves the whole partial. One in
    which nothing is selected does not count.
    """
    if len(ended) == 1:
        return ended[0].exit_code
    codes = [one.exit_code for one in ended if not one.left_out]
    if _DONE.intersection(codes):
        codes = [3 if code in {1, 5} else code for code in codes]
    return min(codes, key=_ORDER.index, default=0)
