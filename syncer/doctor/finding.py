"""A line of the doctor's: what was looked at, how it is, and what to do where it is not well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

Status = Literal["ok", "warning", "failed", "skipped"]
_KIB: Final = 1024
_LISTED: Final = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line. ``advice`` says what to do; it is None where all is well or nothing was seen."""

    check: str
    status: Status
    message: str
    advice: str | None = None


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check=check, status="ok", message=message)


def warning(check: str, message: str, advice: str) -> Finding:
    """Not well, though syncs do their work or soon will again."""
    return Finding(check=check, status="warning", message=message, advice=advice)


def failed(check: str, message: str, advice: str) -> Finding:
    """A sync cannot do its work, or what is stored cannot be relied on."""
    return Finding(check=check, status="failed", message=message, advice=advice)


def skipped(check: str, message: str) -> Finding:
    """Not looked at, because of something else."""
    return Finding(check=check, status="skipped", message=message)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if a line failed, else 0."""
    return int(any(finding.status == "failed" for finding in findings))


def instant(time: datetime) -> str:
    """Return a time of the database's clock, to the minute."""
    return f"{time:%Y-%m-%d %H:%M}Z"


def size(octets: int) -> str:
    """Return a number of bytes in the unit that suits: ``640 KiB``, ``1.2 GiB``."""
    number = float(octets)
    for unit in ("B", "KiB", "MiB"):
        if number < _KIB:
            return f"{number:.0f} {unit}"
        number /= _KIB
    return f"{number:.1f} GiB" if number < _KIB else f"{number / _KIB:.1f} TiB"


def listed(names: Sequence[str], most: int = _LISTED) -> str:
    """Return names in a row; beyond a few, how many more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
