"""Checks, one after another, each in its time; one that depends on a failed one is skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec

from syncer.core.errors import ApiError, ConfigError, SyncerError
from syncer.doctor.finding import Finding, failed, skipped
from syncer.secrets import redacted

Probe = Callable[[], Awaitable[Sequence[Finding]]]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long the doctor waits, in seconds."""

    check: float = 5.0
    """For a check for which nothing else is said."""
    api: float = 9.0
    """For a check of the API: a proxy, TLS and one slow answer."""
    connect: float = 8.0
    """For a session with PostgreSQL to be opened."""
    start: float = 12.0
    """For the embedded server to be started, and a session with it to be opened."""
    statement: float = 4.0
    """For one statement, after which PostgreSQL ends it: less than a check has, so that the session
    stays usable for the next."""
    total: float = 22.0
    """For all checks: whatever hangs, what was found is shown soon."""
    close: float = 5.0
    """For all that was opened to be closed, once everything is shown; then the process is ended."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to probe, within ``timeout`` seconds.

    ``probe`` returns its findings, or raises a named error, which makes the check fail with
    ``advice``, or with ``fix`` where it is a ConfigError. ``depends_on`` names checks before it, of
    its account or of none, and settings: it is skipped where one of those failed or is faulty.
    ``account`` is whose it is, where there are several.
    """

    name: str
    account: str | None = None
    probe: Probe
    advice: str
    timeout: float
    fix: str | None = None
    depends_on: tuple[str, ...] = ()


class Results(msgspec.Struct, kw_only=True):
    """What was found so far; ``timed_out`` once a check did not end in its time."""

    findings: list[Finding] = []
    timed_out: bool = False


async def run_in_order(
    checks: Sequence[Check],
    results: Results,
    *,
    deadline: float,
    first_faulty: Callable[..., str | None],
) -> None:
    """Do the checks in their order, until ``deadline`` by the event loop's clock; fill ``results``.

    ``first_faulty`` takes names of settings and returns which of them cannot be relied on, if any.
    """
    # And skipped ones: by account and name, to the check or setting at fault.
    failed_checks: dict[tuple[str | None, str], str] = {}
    for check in checks:
        left = deadline - anyio.current_time()
        keys = ((whose, name) for name in check.depends_on for whose in (None, check.account))
        cause = next((failed_checks[key] for key in keys if key in failed_checks), None)
        cause = cause or first_faulty(*check.depends_on)
        if cause is not None:
            findings: Sequence[Finding] = [skipped(check.name, f"not without {cause}")]
            failed_checks[check.account, check.name] = cause
        elif left <= 0:
            findings = [skipped(check.name, "no time was left")]
        else:
            findings = await _run(check, results, min(left, check.timeout))
        results.findings += [_named(found, check.account) for found in findings]
        for found in findings:
            if found.status in {"failed", "skipped"}:
                failed_checks.setdefault((check.account, found.check), found.check)


def _named(found: Finding, account: str | None) -> Finding:
    """Let a finding say whose it is, where there are several accounts."""
    if account is None:
        return found
    return msgspec.structs.replace(found, message=f"{account}: {found.message}")


async def _run(check: Check, results: Results, seconds: float) -> Sequence[Finding]:
    try:
        with anyio.move_on_after(seconds):
            return await check.probe()
    except (SyncerError, OSError) as error:
        text = error.message if isinstance(error, ApiError) else str(error)
        message = redacted(" ".join(text.split())) or type(error).__name__
        advice = check.fix if check.fix and isinstance(error, ConfigError) else check.advice
        return [failed(check.name, message, advice)]
    results.timed_out = True
    return [failed(check.name, f"no answer in {seconds:.0f} s", check.advice)]
