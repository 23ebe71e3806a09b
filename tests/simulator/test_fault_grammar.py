"""How a fault is written in one line, and what is said when it is written wrongly."""

from __future__ import annotations

import pytest

from syncer.simulator import InjectedFault
from syncer.simulator.kinds import FAULT_KINDS

EXAMPLES = [
    "status=503,zone=FRA-*,page=2,times=3",
    "throttle=5,probability=0.5",
    "throttle,html=true",
    "truncate=0.5,action=DescribeImages,after=2",
    "total=+3,page=2-4",
    "omit=10%,zone=A|B",
    "omit,ids=img-a*",
    "duplicate=2,changed=true,replace=true",
    "not_found=image,by_id=true",
    "lookup=strict,by_id=true",
    "refuse_id=500,ids=img-a*",
    "hide_zone,zone=FRA-A",
    "hostile=nul,ids=img-a*",
    "truncate=0.5,reset=true",
    "content_type=text/plain",
]


@pytest.mark.parametrize("spec", EXAMPLES)
def test_a_fault_is_written_as_it_is_read(spec: str) -> None:
    """Text to fault to text loses nothing."""
    fault = InjectedFault.parse(spec)
    assert InjectedFault.parse(str(fault)) == fault
    assert set(str(fault).split(",")) == set(spec.split(","))


def test_every_kind_can_be_written() -> None:
    """The table of kinds and the grammar agree; numbers and their text are one."""
    for kind in FAULT_KINDS.values():
        values = {"status": "500", "latency": "1", "total": "+1", "page_cap": "5", "hostile": "nul"}
        value = values.get(kind.name)
        fault = InjectedFault(kind.name, value)
        assert InjectedFault.parse(str(fault)) == fault
        assert kind.usage.startswith(kind.name)
    assert InjectedFault("status", 503, page=2, retry_after=1) == InjectedFault.parse(
        "status=503, page=2, retry_after=1"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "a fault is KIND"),
        ("stauts=503", "unknown fault 'stauts'; known are status, throttle"),
        ("status", "fault status needs a value; status=HTTP"),
        ("status=abc", "status is HTTP, a number, not 'abc'"),
        ("status=99", "status is from 200 to 599, not '99'"),
        ("reset=1", "fault reset takes no value"),
        ("garbage=tea", "garbage is one of text, html, empty, array, binary"),
        ("total=many", r"total is \+N\|-N\|N"),
        ("latency=nan", "latency is from 0"),
        ("reset,page=0", "page is a number from 1"),
        ("reset,page=4-", None),
        ("reset,times=0", "times is at least 1"),
        ("reset,times=few", "times is a number, not 'few'"),
        ("reset,after=-1", "after is at least 0"),
        ("reset,probability=2", "probability is above 0 and at most 1"),
        ("reset,probability=20%", None),
        ("reset,by_id=maybe", "by_id is true or false"),
        ("reset,zone=A,zone=B", "option zone is given twice"),
        ("reset,where=A", r"unknown option 'where' in 'reset,where=A'; reset: .*zone=GLOB"),
        ("reset,html", "fault reset has no html; reset: the connection"),
    ],
)
def test_a_wrong_fault_says_what_is_wrong(spec: str, message: str | None) -> None:
    """Whoever mistypes a fault reads which part, and what it should be."""
    if message is None:
        InjectedFault.parse(spec)
        return
    with pytest.raises(ValueError, match=message):
        InjectedFault.parse(spec)
