"""The calls that the simulator got and how it answered them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec

from syncer.simulator.actions import DEFAULT_PAGE_SIZE


class CallRecord(msgspec.Struct, kw_only=True):
    """One call of an action, as it was asked; the answer is filled in when it is known.

    ``page_num`` and ``page_size`` are None for what has no pages. ``status`` stays None when the
    client got no status (reset, hang). ``started`` and ``finished`` are monotonic seconds,
    ``faults`` the kinds that hit the call, ``who`` the access key id.
    """

    service: str
    action: str
    version: str
    zone: str | None
    page_num: int | None
    page_size: int | None
    image_ids: tuple[str, ...] | None
    started: float
    request_id: str
    who: str | None = None
    status: int | None = None
    code: str | None = None
    faults: tuple[str, ...] = ()
    finished: float | None = None

    @property
    def by_id(self) -> bool:
        """Whether it names images."""
        return bool(self.image_ids)

    def describe(self, parameters: dict[str, Any]) -> None:
        """Fill in zone, ids and page from the body, whatever it holds."""
        zone, ids = parameters.get("zoneId"), parameters.get("imageIds")
        self.zone = zone if isinstance(zone, str) else None
        if isinstance(ids, list):
            self.image_ids = tuple(str(one) for one in ids)
        if self.action == "DescribeImages":
            number, size = parameters.get("pageNum"), parameters.get("pageSize")
            self.page_num = number if isinstance(number, int) else 1
            self.page_size = size if isinstance(size, int) else DEFAULT_PAGE_SIZE


class CallLog:
    """The latest calls, and figures about all calls. ``keep`` bounds how many are kept."""

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self.calls: list[CallRecord] = []
        self.running = 0
        self.peak = 0
        self.connections = 0
        self._answers: Counter[str] = Counter()

    def begin(self, call: CallRecord) -> None:
        """Note a call that has come in."""
        self.running += 1
        self.peak = max(self.peak, self.running)
        if self._keep is not None and len(self.calls) >= 2 * self._keep:
            del self.calls[: self._keep]
        self.calls.append(call)

    def end(self, call: CallRecord, now: float) -> None:
        """Note that a call is over."""
        call.finished = now
        self.running -= 1
        word = "none" if call.status is None else str(call.status)
        self._answers[f"{word} {call.code}" if call.code else word] += 1

    def reset(self) -> None:
        """Forget everything but the calls that are being answered."""
        self.calls.clear()
        self._answers.clear()
        self.peak = self.running
        self.connections = 0

    def stats(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return {
            "calls": self._answers.total(),
            "running": self.running,
            "peak_concurrency": self.peak,
            "connections": self.connections,
            "answers": dict(sorted(self._answers.items())),
        }


def read_body(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body, None if it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
