"""A visit: the settings, then the API, the database and this machine side by side."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import anyio

from syncer.config.settings import Loaded
from syncer.doctor import api, database, machine
from syncer.doctor.checks import Chart, go_through
from syncer.doctor.finding import Finding
from syncer.doctor.settings import Discretion, look_at_settings

_TIME: Final = 22.0
"""Seconds for all checks: whatever hangs, what was found is told soon."""
_FRESH: Final = 7200.0
_MISSED: Final = 3


def oldest(loaded: Loaded) -> float:
    """Return how old a whole look may be (seconds): three runs missed, two hours at least."""
    return max(_FRESH, _MISSED * loaded.settings.every)


@contextlib.asynccontextmanager
async def visit(
    loaded: Loaded, *, max_age: float | None = None, defaults: bool = False
) -> AsyncIterator[tuple[list[Finding], bool]]:
    """Look at everything; yield the lines, and whether something hangs that may not end by itself.

    They are to be shown within the context: to leave it may take longer than to look.
    """
    unheard: BaseException | None = None
    charts = [Chart() for _ in range(3)]
    async with anyio.create_task_group() as keepers:
        async with contextlib.AsyncExitStack() as stack:
            limit = oldest(loaded) if max_age is None else max_age
            rounds = (
                api.checks(loaded),
                database.checks(loaded, limit, stack, keepers),
                machine.checks(loaded),
            )
            until, hide = anyio.current_time() + _TIME, Discretion(loaded.settings)
            async with anyio.create_task_group() as tasks:
                for checks, chart in zip(rounds, charts, strict=True):
                    tasks.start_soon(go_through, checks, chart, until, hide)
            findings = list(look_at_settings(loaded, defaults=defaults))
            findings += [found for chart in charts for found in chart.findings]
            try:
                yield findings, any(chart.late for chart in charts)
            except (OSError, SystemExit) as error:  # nobody reads: not in a group's wrapping
                unheard = error
        keepers.cancel_scope.cancel()
    if unheard is not None:
        raise unheard
