"""Faults as data: what goes wrong, for which calls and how often, and how one line says it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from syncer.core import glob
from syncer.simulator.kinds import COMMON_OPTIONS, FAULT_KINDS, FaultKind

_PAGES = re.compile(r"(?P<first>[1-9]\d*)(?P<range>-(?P<last>[1-9]\d*)?)?")


class InjectedFault(msgspec.Struct, frozen=True):
    """One thing that goes wrong; ``InjectedFault("status", 503, zone="FRA-*", times=3)``.

    ``kind`` and ``value`` are explained by ``FAULT_KINDS``. Then comes which calls are hit:
    ``service``, ``action`` and ``zone`` are globs, several joined by ``|``; ``page`` is ``2``,
    ``"2-4"`` or ``"3-"``; ``by_id`` true hits only calls that name ``imageIds``, false only those
    that do not; of those calls the first ``after`` are spared, then ``times`` are hit (None: all),
    each with ``probability``. The rest are details that some kinds understand. Making one raises
    ``ValueError``, saying what is wrong.
    """

    kind: str
    value: str | int | float | None = None
    service: str = "*"
    action: str = "*"
    zone: str = "*"
    page: int | str | None = None
    by_id: bool | None = None
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    code: str | None = None
    retry_after: int | str | None = None
    html: bool = False
    ids: str | None = None
    changed: bool = False
    replace: bool = False
    reset: bool = False

    def __post_init__(self) -> None:
        kind = FAULT_KINDS.get(self.kind)
        if kind is None:
            raise ValueError(f"unknown fault {self.kind!r}; known are {', '.join(FAULT_KINDS)}")
        msgspec.structs.force_setattr(self, "value", kind.read(self.value))
        for name in ("code", "retry_after", "html", "ids", "changed", "replace", "reset"):
            if getattr(self, name) not in (None, False) and name not in kind.details:
                raise ValueError(f"fault {self.kind} has no {name}; {kind.usage}")
        for name in ("page", "retry_after"):  # 2 and "2" are the same fault
            if (given := getattr(self, name)) is not None:
                msgspec.structs.force_setattr(self, name, str(given))
        if self.page is not None and not _PAGES.fullmatch(str(self.page)):
            raise ValueError(f"page is a number from 1, or 2-4, or 3-; not {self.page!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is at least 1, not {self.times}")
        if self.after < 0:
            raise ValueError(f"after is at least 0, not {self.after}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability is above 0 and at most 1, not {self.probability}")

    @property
    def about(self) -> FaultKind:
        """What is known of its kind."""
        return FAULT_KINDS[self.kind]

    @property
    def number(self) -> float:
        """The value of a kind whose value is a number."""
        return float(self.value or 0)

    @property
    def text(self) -> str:
        """The value of a kind whose value is a word; empty when it was left out."""
        return "" if self.value is None else str(self.value)

    def covers_zone(self, zone: str | None) -> bool:
        """Whether the zone glob takes in this zone; a call without a zone only by ``*``."""
        if zone is None:
            return self.zone == "*"
        return matches_any(self.zone, zone)

    def covers(
        self, *, service: str, action: str, zone: str | None, page: int | None, by_id: bool
    ) -> bool:
        """Whether such a call is among those it hits, counting and chance apart."""
        kind = self.about
        if not matches_any(self.service, service):
            return False
        if not matches_any(self.action, action) or kind.action not in (None, action):
            return False
        # The zones that a fault of DescribeZones names are those it hides, not the call's.
        if kind.action != "DescribeZones" and not self.covers_zone(zone):
            return False
        if self.page is not None and not _covers_page(str(self.page), page):
            return False
        wanted = False if self.by_id is None and kind.listings_only else self.by_id
        return wanted is None or wanted == by_id

    def __str__(self) -> str:
        """Write it as ``parse`` reads it."""
        parts = [self.kind if self.value is None else f"{self.kind}={self.value}"]
        for name in _OPTIONS:
            value = getattr(self, name)
            if value != _DEFAULTS[name]:
                parts.append(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
        return ",".join(parts)

    @classmethod
    def parse(cls, text: str) -> InjectedFault:
        """Read ``KIND[=VALUE][,NAME=VALUE]...``; raises ``ValueError`` saying what is wrong.

        A name alone means true, as in ``status=502,html``. Values cannot hold a comma.
        """
        first, *rest = [part.strip() for part in text.split(",")]
        kind, _, value = first.partition("=")
        if not kind:
            raise ValueError(f"a fault is KIND[=VALUE][,NAME=VALUE]..., not {text!r}")
        if kind not in FAULT_KINDS:
            raise ValueError(f"unknown fault {kind!r}; known are {', '.join(FAULT_KINDS)}")
        options: dict[str, Any] = {}
        for part in rest:
            name, equals, given = part.partition("=")
            if name not in _OPTIONS:
                raise ValueError(
                    f"unknown option {name!r} in {text!r}; {FAULT_KINDS[kind].usage}."
                    f" {COMMON_OPTIONS}"
                )
            if name in options:
                raise ValueError(f"option {name} is given twice in {text!r}")
            options[name] = _option(name, given if equals else "true")
        return cls(kind, value if "=" in first else None, **options)


_OPTIONS = tuple(InjectedFault.__struct_fields__[2:])
_DEFAULTS = dict(
    zip(InjectedFault.__struct_fields__[1:], InjectedFault.__struct_defaults__, strict=True)
)
_BOOLEAN = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _option(name: str, given: str) -> object:
    try:
        if name in ("times", "after"):
            return int(given)
        if name == "probability":
            return float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
        if name in ("by_id", "html", "changed", "replace", "reset"):
            return _BOOLEAN[given.lower()]
    except (ValueError, KeyError):
        wanted = "true or false" if name not in ("times", "after", "probability") else "a number"
        raise ValueError(f"{name} is {wanted}, not {given!r}") from None
    return given


def matches_any(globs: str, text: str) -> bool:
    """Whether ``text`` matches one of the globs joined by ``|``."""
    return any(glob.matches(pattern, text) for pattern in globs.split("|"))


def _covers_page(pages: str, page: int | None) -> bool:
    found = _PAGES.fullmatch(pages)
    if page is None or found is None:
        return False
    first = int(found["first"])
    if not found["range"]:
        return page == first
    return first <= page and (found["last"] is None or page <= int(found["last"]))
