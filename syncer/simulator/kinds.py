"""The kinds of faults, as a table: what each does, what its value means, and its details."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from syncer.simulator.hostile import WORDS

COMMON_OPTIONS = (
    "Any fault also takes service=GLOB, zone=GLOB|GLOB, action=GLOB, page=2 or 2-4 or 3-,"
    " by_id=true|false, times=N (then it is over), after=N (calls spared first), probability=0.2"
    " or 20%"
)
"""The options that every kind takes."""

Effect = Literal["answer", "body", "shape", "delay"]
"""``answer`` takes the place of the real answer, ``body`` damages how it is sent, ``shape`` changes
what it holds, ``delay`` makes it late. A call gets the first fault that matches of the first two
together, and all that match of the other two."""


class FaultKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault.

    ``value`` names what stands after ``=``: a number (``least`` to ``most``), one of ``words``, or
    free text; ``default`` is used when it is left out, and ``required`` forbids that.
    """

    name: str
    effect: Effect
    summary: str
    value: str | None = None
    number: type[int] | type[float] | None = None
    least: float = 0
    most: float = math.inf
    words: tuple[str, ...] = ()
    pattern: str | None = None
    default: str | int | float | None = None
    required: bool = False
    details: tuple[str, ...] = ()
    action: str | None = None
    listings_only: bool = False

    @property
    def usage(self) -> str:
        """One line that says how it is written."""
        value = ""
        if self.value is not None:
            value = f"={self.value}" if self.required else f"[={self.value}]"
        details = "".join(f",{detail}" for detail in self.details)
        return f"{self.name}{value}{f' [{details}]' if details else ''}: {self.summary}"

    def read(self, given: str | int | float | None) -> str | int | float | None:
        """Return the value as it is kept; raises ``ValueError`` saying what is wrong with it."""
        if given is None or given == "":
            if self.required:
                raise ValueError(f"fault {self.name} needs a value; {self.usage}")
            return self.default
        if self.value is None:
            raise ValueError(f"fault {self.name} takes no value, not {given!r}")
        if self.number is not None:
            return self._number(given)
        if self.words and given not in self.words:
            raise ValueError(f"{self.name} is one of {', '.join(self.words)}, not {given!r}")
        if self.pattern is not None and not re.fullmatch(self.pattern, str(given)):
            raise ValueError(f"{self.name} is {self.value}, not {given!r}")
        return str(given)

    def _number(self, given: str | int | float) -> int | float:
        kind = self.number or float
        try:
            number = kind(given)
        except ValueError:
            raise ValueError(f"{self.name} is {self.value}, a number, not {given!r}") from None
        if not self.least <= number <= self.most:
            raise ValueError(f"{self.name} is from {self.least} to {self.most}, not {given!r}")
        return number


_DAY = 86_400
_MIB = 65_536
_IMAGES = "DescribeImages"
_ZONES = "DescribeZones"
_LISTS = ("list", "null", "absent")
LOOKUPS = ("folded", "ignored", "strict", "first")
"""How imageIds may be looked up otherwise than as they should be."""

_ALL = (
    FaultKind(
        name="status", effect="answer", value="HTTP", number=int, least=200, most=599,
        required=True, details=("code", "html", "retry_after"),
        summary="that HTTP status with the API's error code for it (code=), or an HTML body",
    ),
    FaultKind(
        name="throttle", effect="answer", value="RETRY-AFTER", details=("code", "html"),
        summary="429 REQUEST_LIMIT_EXCEEDED, with Retry-After when a value is given",
    ),
    FaultKind(name="reset", effect="answer", summary="the connection is reset before any answer"),
    FaultKind(name="hang", effect="answer", summary="no answer ever, until the client goes away"),
    FaultKind(
        name="truncate", effect="body", value="SHARE", number=float, most=0.999, default=0.5,
        details=("reset",),
        summary="only this share of the body is sent (half), then the connection closes; reset:"
        " it is reset",
    ),
    FaultKind(
        name="stall", effect="body", value="SHARE", number=float, most=0.999, default=0.5,
        summary="only this share of the body is sent (half), then nothing more, ever",
    ),
    FaultKind(
        name="content_type", effect="body", value="TYPE", default="text/html",
        summary="the right body under another Content-Type (text/html)",
    ),
    FaultKind(
        name="drip", effect="body", value="SECONDS", number=float, least=0.001, most=_DAY,
        default=0.5,
        summary="the body comes one byte every SECONDS (0.5)",
    ),
    FaultKind(
        name="garbage", effect="answer", value="text|html|empty|array|binary",
        words=("text", "html", "empty", "array", "binary"), default="text",
        summary="200 with a body that is no JSON object",
    ),
    FaultKind(
        name="error_in_200", effect="answer", value="CODE", default="INTERNAL_SERVER_ERROR",
        summary="200 with an error's code and message (INTERNAL_SERVER_ERROR)",
    ),
    FaultKind(
        name="not_found", effect="answer", value="zone|image|resource",
        words=("zone", "image", "resource"), default="zone", action=_IMAGES,
        summary="404 for the zone (INVALID_ZONE_NOT_FOUND), the image or the resource",
    ),
    FaultKind(
        name="challenge", effect="answer",
        summary="403 with cf-mitigated: challenge and HTML, as Cloudflare sends it",
    ),
    FaultKind(
        name="blocked", effect="answer", summary="451 with HTML: blocked by a security policy"
    ),
    FaultKind(
        name="redirect", effect="answer", value="URL",
        summary="302 to that address (by default to /elsewhere of the simulator)",
    ),
    FaultKind(
        name="big_body", effect="answer", value="MIB", number=float, least=0.001, most=_MIB,
        default=64.0,
        summary="200 with a body of MIB mebibytes (64), in chunks of undeclared total length",
    ),
    FaultKind(
        name="gzip_bomb", effect="answer", value="MIB", number=float, least=0.001, most=_MIB,
        default=64.0,
        summary="200 with a small gzip body that unpacks to MIB mebibytes (64)",
    ),
    FaultKind(
        name="latency", effect="delay", value="SECONDS", number=float, most=_DAY, required=True,
        summary="the answer comes SECONDS later",
    ),
    FaultKind(
        name="slow", effect="delay", value="SECONDS", number=float, most=_DAY, default=1.0,
        summary="as latency, one second unless given",
    ),
    FaultKind(
        name="total", effect="shape", value="+N|-N|N|omitted|string|null", required=True,
        pattern=r"[+-]?\d+|omitted|string|null", action=_IMAGES,
        summary="totalCount is off by N, or N, or left out, or a string, or null",
    ),
    FaultKind(
        name="page_cap", effect="shape", value="N", number=int, least=1, required=True,
        action=_IMAGES, summary="pages hold at most N rows, silently; offsets go by N too",
    ),
    FaultKind(
        name="omit", effect="shape", value="N|N%", pattern=r"\d+%?", details=("ids",),
        action=_IMAGES, listings_only=True,
        summary="N images (1), or those whose id matches ids=GLOB, are never listed nor counted"
        ", but returned when asked for by id",
    ),
    FaultKind(
        name="lookup", effect="shape", value="folded|ignored|strict|first", words=LOOKUPS,
        default="folded", action=_IMAGES,
        summary="imageIds are looked up without regard to case, or ignored (every image is"
        " returned), or refused with a 404 where one is unknown, or all but the first 20 forgotten",
    ),
    FaultKind(
        name="refuse_id", effect="shape", value="HTTP", number=int, least=400, most=599,
        default=400, details=("ids",), action=_IMAGES,
        summary="that HTTP status (400) for calls that name an id which matches ids=GLOB",
    ),
    FaultKind(
        name="duplicate", effect="shape", value="N", number=int, least=1, default=1,
        details=("changed", "replace"), action=_IMAGES,
        summary="the zone's first N rows (1) come again at the end of the page; changed: with"
        " another name; replace: in the place of the page's last N rows",
    ),
    FaultKind(
        name="reorder", effect="shape", value="zone|page", words=("zone", "page"), default="zone",
        action=_IMAGES, summary="rows are shuffled anew at each call, over the zone or the page",
    ),
    FaultKind(
        name="empty_listing", effect="shape", value="list|null|absent", words=_LISTS,
        default="list", action=_IMAGES, listings_only=True,
        summary="no images and totalCount 0; dataSet is [], null or left out",
    ),
    FaultKind(
        name="hostile", effect="shape", value="WHAT", words=WORDS, required=True,
        details=("ids",),
        summary="the first row of each page, or those whose id matches ids=GLOB, hold what no"
        f" document shows: {', '.join(WORDS)}",
    ),
    FaultKind(
        name="hide_zone", effect="shape", action=_ZONES,
        summary="zones matching zone=GLOB are left out of DescribeZones, but still answer",
    ),
    FaultKind(
        name="empty_zones", effect="shape", value="list|null|absent", words=_LISTS,
        default="list", action=_ZONES,
        summary="DescribeZones names no zone; zoneSet is [], null or left out",
    ),
)  # fmt: skip

FAULT_KINDS = {kind.name: kind for kind in _ALL}
"""Every kind of fault by its name."""
