"""The faults that are armed now, and which of them hit a call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import msgspec

from syncer.simulator.faults import InjectedFault, matches_any


class ArmedFault:
    """A fault with its number, the calls it matched, those it hit, and the images it omits."""

    __slots__ = ("_omitted", "fault", "hits", "number", "seen")

    def __init__(self, number: int, fault: InjectedFault) -> None:
        self.number = number
        self.fault = fault
        self.seen = 0
        self.hits = 0
        self._omitted: dict[str, frozenset[str]] = {}

    def try_hit(self, rng: Random) -> bool:
        """Count a call that the fault covers; return whether it is hit."""
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

    def omits(self, place: str, ids: Iterable[str]) -> frozenset[str]:
        """Ids left out of the listings of a place; chosen at the first call and kept since."""
        if self.fault.ids is not None:
            return frozenset(one for one in ids if matches_any(self.fault.ids, one))
        if place not in self._omitted:
            ordered = sorted(
                ids, key=lambda one: hashlib.sha256(one.encode(errors="replace")).digest()
            )
            text = self.fault.text or "1"
            count = int(text.removesuffix("%"))
            if text.endswith("%"):
                count = round(len(ordered) * count / 100)
            self._omitted[place] = frozenset(ordered[:count])
        return self._omitted[place]


class ChosenFaults(msgspec.Struct, frozen=True, kw_only=True):
    """The faults that hit one call."""

    answer: InjectedFault | None = None
    body: InjectedFault | None = None
    shapes: tuple[ArmedFault, ...] = ()
    delay: float = 0.0
    kinds: tuple[str, ...] = ()


class FaultBook:
    """The armed faults in the order they were added; they may change while calls are answered."""

    def __init__(self, rng: Random, faults: Iterable[InjectedFault | str] = ()) -> None:
        self._rng = rng
        self._armed: dict[int, ArmedFault] = {}
        self._next = 1
        for fault in faults:
            self.add(fault)

    def __iter__(self) -> Iterator[ArmedFault]:
        return iter(self._armed.values())

    def __len__(self) -> int:
        return len(self._armed)

    def add(self, fault: InjectedFault | str) -> int:
        """Arm a fault and return its number; raises ``ValueError`` for text that is not a fault."""
        number, self._next = self._next, self._next + 1
        self._armed[number] = ArmedFault(
            number, InjectedFault.parse(fault) if isinstance(fault, str) else fault
        )
        return number

    def remove(self, number: int) -> None:
        """Remove one fault."""
        if self._armed.pop(number, None) is None:
            raise LookupError(f"there is no fault {number}")

    def clear(self) -> None:
        """Remove all faults."""
        self._armed.clear()

    def choose(self, **call: Any) -> ChosenFaults:  # noqa: ANN401 - passed on to InjectedFault.covers
        """Return the faults that hit a call, and count the call for each."""
        able = [armed for armed in self._armed.values() if armed.fault.covers(**call)]
        main = self._first(able, ("answer", "body"))
        shapes: tuple[ArmedFault, ...] = ()
        if main is None or main.fault.about.effect == "body":
            shapes = self._every(able, "shape")
        delays = self._every(able, "delay")
        hit = (*(() if main is None else (main,)), *shapes, *delays)
        fault = None if main is None else main.fault
        is_body = fault is not None and fault.about.effect == "body"
        return ChosenFaults(
            answer=None if is_body else fault,
            body=fault if is_body else None,
            shapes=shapes,
            delay=sum(armed.fault.number for armed in delays),
            kinds=tuple(armed.fault.kind for armed in hit),
        )

    def _first(self, able: list[ArmedFault], effects: tuple[str, ...]) -> ArmedFault | None:
        for armed in able:
            if armed.fault.about.effect in effects and armed.try_hit(self._rng):
                return armed
        return None

    def _every(self, able: list[ArmedFault], effect: str) -> tuple[ArmedFault, ...]:
        return tuple(
            armed
            for armed in able
            if armed.fault.about.effect == effect and armed.try_hit(self._rng)
        )
