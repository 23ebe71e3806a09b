"""All checks: the settings, then the API, the database and this machine side by side."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import anyio

from syncer.config.settings import LoadedSettings
from syncer.doctor import api, database, inventory, machine, workers
from syncer.doctor.checks import Check, Results, Timing, run_in_order
from syncer.doctor.embedded import EmbeddedServer
from syncer.doctor.settings import check_settings

_STALE: Final = 7200.0
"""Seconds after which a whole look at a zone is stale, if runs come often."""
_MISSED_RUNS: Final = 3
"""As many times the interval of runs, where that is longer."""


def stale_after(every: float) -> float:
    """Return how old a whole look may be, in seconds, where a run comes ``every`` so often."""
    return max(_STALE, _MISSED_RUNS * every)


@contextlib.asynccontextmanager
async def run_checks(
    loaded: LoadedSettings,
    *,
    max_age: float | None = None,
    defaults: bool = False,
    timing: Timing = Timing(),  # noqa: B008  (frozen)
) -> AsyncIterator[Results]:
    """Check everything; yield what was found.

    ``max_age`` is how old a whole look at a zone may be, in seconds; ``defaults`` also shows
    settings that have theirs. The results are to be shown within the context: to leave it may take
    longer than the checks did.
    """
    write_error: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        async with contextlib.AsyncExitStack() as stack:
            place = loaded.settings.database
            embedded = EmbeddedServer(place, tasks) if place.embedded else None
            session = database.Session(stack)
            stored = (
                *(embedded.checks(timing) if embedded else []),
                *database.checks(loaded.settings, session, embedded, timing),
                *workers.checks(loaded.settings, session, timing),
                *(
                    check
                    for account in loaded.settings.accounts
                    for check in inventory.checks(
                        account,
                        session,
                        stale_after(account.every) if max_age is None else max_age,
                        timing,
                        whose=loaded.settings.whose(account),
                    )
                ),
            )
            results = await _side_by_side(
                [*api.topics(loaded, timing), stored, machine.checks(loaded, timing)],
                loaded,
                timing,
            )
            results.findings[:0] = check_settings(loaded, defaults=defaults)
            try:
                yield results
            except (OSError, SystemExit) as error:  # nobody reads: not in a group's wrapping
                write_error = error
        tasks.cancel_scope.cancel()
    if write_error is not None:
        raise write_error


async def _side_by_side(
    topics: Sequence[Sequence[Check]], loaded: LoadedSettings, timing: Timing
) -> Results:
    """Do the checks of each topic in their order, all topics at once; findings keep that order."""
    deadline = anyio.current_time() + timing.total
    each = [Results() for _ in topics]
    async with anyio.create_task_group() as tasks:
        for checks, results in zip(topics, each, strict=True):
            tasks.start_soon(
                partial(run_in_order, deadline=deadline, first_faulty=loaded.first_faulty),
                checks,
                results,
            )
    return Results(
        findings=[found for results in each for found in results.findings],
        timed_out=any(results.timed_out for results in each),
    )
