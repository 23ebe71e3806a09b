"""The faults that are armed now, and which of them hit a call."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from syncer.simulator.faults import Fault, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random


class Armed:
    """A fault with its number, the calls it matched, those it hit, and the images it omits."""

    __slots__ = ("_omitted", "fault", "hits", "number", "seen")

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.seen = 0
        self.hits = 0
        self._omitted: dict[str, frozenset[str]] = {}

    def strike(self, rng: Random) -> bool:
        """Count a call that matches, and say whether it is hit."""
        fault = self.fault
        if fault.times is not None and self.hits >= fault.times:
            return False
        self.seen += 1
        if self.seen <= fault.after or (
            fault.probability < 1 and rng.random() >= fault.probability
        ):
            return False
        self.hits += 1
        return True

    def omits(self, zone: str, ids: Iterable[str]) -> frozenset[str]:
        """Ids left out of the zone's listings; chosen at the first call and kept since."""
        if self.fault.ids is not None:
            return frozenset(one for one in ids if matches(one, self.fault.ids))
        if zone not in self._omitted:
            ordered = sorted(
                ids, key=lambda one: hashlib.sha256(one.encode(errors="replace")).digest()
            )
            text = self.fault.text or "1"
            count = int(text.removesuffix("%"))
            if text.endswith("%"):
                count = round(len(ordered) * count / 100)
            self._omitted[zone] = frozenset(ordered[:count])
        return self._omitted[zone]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The faults that hit one call."""

    answer: Fault | None = None
    body: Fault | None = None
    shapes: tuple[Armed, ...] = ()
    delay: float = 0.0
    kinds: tuple[str, ...] = ()


class FaultBook:
    """Armed faults in the order they were added; they may come and go while calls are answered."""

    def __init__(self, rng: Random, faults: Iterable[Fault | str] = ()) -> None:
        self._rng = rng
        self._armed: dict[int, Armed] = {}
        self._next = 1
        for fault in faults:
            self.add(fault)

    def __iter__(self) -> Iterator[Armed]:
        return iter(self._armed.values())

    def __len__(self) -> int:
        return len(self._armed)

    def add(self, fault: Fault | str) -> int:
        """Arm a fault and return its number; raises ``ValueError`` for a text that is none."""
        number, self._next = self._next, self._next + 1
        self._armed[number] = Armed(number, Fault.parse(fault) if isinstance(fault, str) else fault)
        return number

    def remove(self, number: int) -> None:
        """Take one fault away."""
        if self._armed.pop(number, None) is None:
            raise LookupError(f"there is no fault {number}")

    def clear(self) -> None:
        """Take all faults away."""
        self._armed.clear()

    def choose(self, **call: Any) -> Chosen:  # noqa: ANN401 - passed on to Fault.covers
        """Say which faults hit a call, and count it for those."""
        able = [armed for armed in self._armed.values() if armed.fault.covers(**call)]
        main = self._first(able, ("answer", "body"))
        shapes: tuple[Armed, ...] = ()
        if main is None or main.fault.about.effect == "body":
            shapes = self._every(able, "shape")
        delays = self._every(able, "delay")
        hit = (*(() if main is None else (main,)), *shapes, *delays)
        fault = None if main is None else main.fault
        is_body = fault is not None and fault.about.effect == "body"
        return Chosen(
            answer=None if is_body else fault,
            body=fault if is_body else None,
            shapes=shapes,
            delay=sum(armed.fault.number for armed in delays),
            kinds=tuple(armed.fault.kind for armed in hit),
        )

    def _first(self, able: list[Armed], effects: tuple[str, ...]) -> Armed | None:
        for armed in able:
            if armed.fault.about.effect in effects and armed.strike(self._rng):
                return armed
        return None

    def _every(self, able: list[Armed], effect: str) -> tuple[Armed, ...]:
        return tuple(
            armed
            for armed in able
            if armed.fault.about.effect == effect and armed.strike(self._rng)
        )
