"""Checks one after another: each has its time, and one that needs a failed one is skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import msgspec

from syncer.core.errors import ApiError, ConfigError, SyncerError
from syncer.doctor.finding import Finding, failed, skipped

Look = Callable[[], Awaitable[Sequence[Finding]]]
_PATIENCE: Final = 5.0
_NAMED: Final = (SyncerError, OSError)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A look at one thing.

    ``look`` returns its lines, or raises a named error, which makes it fail with ``advice``, or
    with ``mend`` where it is a ConfigError. ``needs`` are checks before it, and ``doubt`` names a
    setting that is faulty: without them there is nothing to look at. ``patience`` is its time in
    seconds.
    """

    name: str
    look: Look
    advice: str
    mend: str | None = None
    needs: tuple[str, ...] = ()
    doubt: str | None = None
    patience: float = _PATIENCE


class Chart(msgspec.Struct, kw_only=True):
    """What was found so far; ``late`` once a check did not end in its time."""

    findings: list[Finding] = []
    late: bool = False


async def go_through(
    checks: Sequence[Check], chart: Chart, until: float, hide: Callable[[str], str]
) -> None:
    """Do the checks in their order, at most ``until`` a moment of the event loop's clock.

    ``hide`` takes secrets out of what others said.
    """
    amiss: dict[str, str] = {}  # what cannot be relied on, and what that goes back to
    for check in checks:
        left = until - anyio.current_time()
        lost = next((amiss[name] for name in check.needs if name in amiss), check.doubt)
        if lost is not None:
            findings: Sequence[Finding] = [skipped(check.name, f"not without {lost}")]
            amiss[check.name] = lost
        elif left <= 0:
            findings = [skipped(check.name, "no time was left")]
        else:
            findings = await _look(check, chart, min(left, check.patience), hide)
        chart.findings += findings
        for found in findings:
            if found.status in {"failed", "skipped"}:
                amiss.setdefault(found.check, found.check)


async def _look(
    check: Check, chart: Chart, patience: float, hide: Callable[[str], str]
) -> Sequence[Finding]:
    try:
        with anyio.move_on_after(patience):
            return await check.look()
    except _NAMED as error:
        said = " ".join((error.message if isinstance(error, ApiError) else str(error)).split())
        advice = check.mend if check.mend and isinstance(error, ConfigError) else check.advice
        return [failed(check.name, hide(said) or type(error).__name__, advice)]
    chart.late = True
    return [failed(check.name, f"no answer in {patience:.0f} s", check.advice)]
