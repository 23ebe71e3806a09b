"""Pins: what a file says, and what became of them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncer.core import pinfile
from syncer.core.errors import ConfigError
from syncer.core.model import ALL_TRACKED, TRACKED, Tracked
from syncer.core.normalise import clean
from syncer.core.pinfile import parse
from syncer.core.pins import (
    STATUSES,
    Found,
    KnownZone,
    Pin,
    PinAnswer,
    check_pin,
    exit_code,
    selected,
    summary,
    wanted,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STORED: Tracked = ("Ubuntu", "PUBLIC", "30", None, "22.04", "AVAILABLE", "Linux", "linux")
WORDS = st.text(max_size=12)
FULL = st.text(min_size=1, max_size=12)
IDS = st.text(min_size=1, max_size=8).filter(lambda text: text == clean(text))
EXPECTED = st.dictionaries(st.sampled_from(ALL_TRACKED), WORDS)


def zone(
    *, account: str = "a", gone: bool = False, age: timedelta | None = timedelta()
) -> KnownZone:
    return KnownZone(
        account=account,
        service="vm",
        zone_id="Z",
        gone_at=NOW if gone else None,
        last_complete_at=None if age is None else NOW - age,
        age=age,
    )


def found(
    tracked: Tracked = STORED, *, account: str = "a", presence: str = "present", **more: Any
) -> Found:
    times: dict[str, Any] = {"removed_at": None, "not_before": None, "withheld_since": None}
    return Found(
        account=account, service="vm", presence=presence, tracked=tracked, **(times | more)
    )


def pin(*, account: str | None = None, **expected: str | None) -> Pin:
    return Pin(zone_id="Z", image_id="img", account=account, expected=expected)


def judge(
    pinned: Pin, images: list[Found], zones: list[KnownZone], max_age: timedelta | None = None
) -> list[PinAnswer]:
    return check_pin(pinned, images, {(z.account, z.service): z for z in zones}, max_age)


def one(answers: list[PinAnswer]) -> PinAnswer:
    (answer,) = answers
    return answer


TRACKEDS = st.tuples(*(st.none() | WORDS for _ in TRACKED))


@given(stored=TRACKEDS, names=st.sets(st.sampled_from(TRACKED)))
def test_an_image_compared_with_itself_is_present(stored: Tracked, names: set[str]) -> None:
    """Whatever of an image is pinned, the same image is present."""
    expected = {name: value for name, value in zip(TRACKED, stored, strict=True) if name in names}
    answer = one(judge(pin(**expected), [found(stored)], [zone()]))
    assert ("present", None, ()) == (answer.status, answer.reason, answer.changed_fields)


@given(stored=TRACKEDS, expected=TRACKEDS)
def test_what_is_called_changed_is_what_differs(stored: Tracked, expected: Tracked) -> None:
    """changed_fields are those whose expected and stored values differ; before and after say so."""
    answer = one(judge(pin(**dict(zip(TRACKED, expected, strict=True))), [found(stored)], [zone()]))
    now, then = dict(zip(TRACKED, stored, strict=True)), dict(zip(TRACKED, expected, strict=True))
    if answer.status == "present":
        differing = {name for name in TRACKED if now[name] != then[name]}
        assert differing <= {"image_size"}
    else:
        assert answer.before == {name: then[name] for name in answer.changed_fields}
        assert answer.after == {name: now[name] for name in answer.changed_fields}
        assert all(now[name] != then[name] for name in answer.changed_fields)
        assert answer.reason is not None
        assert all(f"{name} was" in answer.reason for name in answer.changed_fields)


def test_sizes_are_compared_as_numbers_and_null_as_a_value() -> None:
    """Size 30.0 is 30; an expected null (of a baseline) differs from a value."""
    assert "present" == one(judge(pin(image_size="30.0"), [found()], [zone()])).status
    changed = one(judge(pin(image_size="31", category=None), [found()], [zone()]))
    assert ("image_size", "category") == changed.changed_fields
    assert "image_size was 31, is 30; category was null, is Linux" == changed.reason


HOUR = timedelta(hours=1)
OLD = timedelta(hours=3, minutes=12)
PRESENT, ABSENT, UNKNOWN = (
    found(),
    found(presence="absent", removed_at=NOW, not_before=NOW - HOUR),
    found(presence="unknown"),
)
CASES: dict[str, tuple[list[Found], list[KnownZone], timedelta | None, str, str | None]] = {
    "present": ([PRESENT], [zone()], None, "present", None),
    "fresh": ([PRESENT], [zone(age=HOUR)], HOUR, "present", None),
    "stale": ([PRESENT], [zone(age=OLD)], HOUR, "unknown", "3h 12m old, more than 1h"),
    "stale and absent": ([ABSENT], [zone(age=OLD)], HOUR, "unknown", "more than 1h"),
    "partly seen": ([PRESENT], [zone(age=None)], None, "present", None),
    "partly seen, age asked": ([PRESENT], [zone(age=None)], HOUR, "unknown", "never read whole"),
    "absent": ([ABSENT], [zone()], None, "removed", "absent 2026-11-24 12:00Z, last listed 2026"),
    "gone": ([UNKNOWN], [zone(gone=True)], None, "unknown", "the zone is gone since 2026-11-24"),
    "no zone": ([], [], None, "unknown", "no such zone is known"),
    "never seen": ([], [zone()], None, "unknown", "never seen in this zone; is the id right?"),
    "never seen, stale": ([], [zone(age=OLD)], HOUR, "unknown", "never seen, but the last"),
    "never seen, one gone": ([], [zone(), zone(account="b", gone=True)], None, "unknown", "gone"),
    "never seen, one new": (
        [],
        [zone(age=None), zone(account="b")],
        None,
        "unknown",
        "never read whole",
    ),
    "never seen in two": ([], [zone(), zone(account="b")], None, "unknown", "never seen"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pin_gets_its_status(case: str) -> None:
    """Presence, the zone's state and its age decide; the reason says why."""
    images, zones, max_age, status, reason = CASES[case]
    answer = one(judge(pin(), images, zones, max_age))
    assert status == answer.status
    assert (reason is None) == (answer.reason is None)
    assert (reason or "") in (answer.reason or "")


def test_a_pin_without_an_account_means_all_of_them() -> None:
    """One answer an account; one with an account looks at that account's zone only."""
    images = [found(), found(account="b", presence="absent")]
    zones = [zone(), zone(account="b")]
    assert ["present", "removed"] == [a.status for a in judge(pin(), images, zones)]
    answer = one(judge(pin(account="b"), [], [zone(gone=True), zone(account="b")]))
    assert ("unknown", "b", "vm") == (answer.status, answer.account, answer.service)


@given(statuses=st.lists(st.sampled_from(STATUSES)))
def test_the_exit_code_is_the_worst_that_was_seen(statuses: list[str]) -> None:
    """6 for anything changed or removed, else 3 for anything unknown, else 0."""
    code = exit_code(statuses)
    assert (code == 6) == ("changed" in statuses or "removed" in statuses)
    assert (code == 0) == (set(statuses) <= {"present"})
    assert code in {0, 3, 6}


def test_the_summary_counts_every_status() -> None:
    withheld = found(presence="unknown", withheld_since=NOW, unlisted_since=NOW)
    answers = judge(pin(), [withheld, ABSENT, found()], [zone()])
    assert (
        "1 present, 0 changed, 1 removed, 1 unknown (1 of them with a withheld removal)"
        == summary(answers)
    )
    answers += judge(pin(), [], [zone()]) + judge(pin(), [], [])
    assert summary(answers).endswith(
        "1 removed, 3 unknown (1 of them with a withheld removal, 1 of them never seen)"
    )


def test_filters_choose_pins() -> None:
    """By account and service where the pin names one, by zone, and by image id or name."""
    pins = [pin(), pin(account="a"), pin(account="b")]
    assert pins[:2] == selected(pins, ["a"], [], [])
    assert pins == selected(pins, ["b", "a"], ["vm"], ["Z*"])
    assert [] == selected(pins, [], [], ["Y*"])
    assert wanted(pin(image_name="Old"), [found()], ["Old"])
    assert wanted(pin(), [found()], ["nope", "Ubu*"])
    assert wanted(pin(), [], ["im?"])
    assert not wanted(pin(), [found()], ["debian*"])


# Files --------------------------------------------------------------------------------------


PINS = st.lists(
    st.builds(
        Pin,
        zone_id=IDS,
        image_id=IDS,
        account=st.none() | IDS,
        service=st.none() | IDS,
        expected=st.dictionaries(st.sampled_from(TRACKED), FULL.map(clean)),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda p: (p.account, p.service, p.zone_id, p.image_id),
)


def flat(pinned: Pin) -> dict[str, str | None]:
    return {
        "note": "{",
        "account": pinned.account,
        "service": pinned.service,
        "zone_id": pinned.zone_id,
        "image_id": pinned.image_id,
        **pinned.expected,
    }


@given(pins=PINS, bom=st.booleans(), crlf=st.booleans())
@example(pins=[Pin(zone_id="[", image_id='a"\r\n,', expected={})], bom=True, crlf=True)
def test_what_is_written_as_csv_is_read_the_same(pins: list[Pin], bom: bool, crlf: bool) -> None:
    """CSV with any content, line ends and a byte order mark comes back as the same pins."""
    out = io.StringIO(newline="")
    columns = ["note", "account", "service", "zone_id", "image_id", *TRACKED]
    writer = csv.DictWriter(
        out, columns, lineterminator="\r\n" if crlf else "\n", quoting=csv.QUOTE_ALL
    )
    writer.writeheader()
    writer.writerows(map(flat, pins))
    assert pins == parse(out.getvalue().encode("utf-8-sig" if bom else "utf-8"), "f")


@given(pins=PINS, form=st.sampled_from(["lines", "array", "pretty"]), ascii_=st.booleans())
def test_what_is_written_as_json_is_read_the_same(pins: list[Pin], form: str, ascii_: bool) -> None:
    """JSON lines and an array, on one line or many, come back as the same pins."""
    rows = [flat(pinned) for pinned in pins]
    if form == "lines":
        body = "\r\n\n".join(json.dumps(row, ensure_ascii=ascii_) for row in rows)
    else:
        body = json.dumps(rows, indent=2 if form == "pretty" else None, ensure_ascii=ascii_)
    assert pins == parse(body.encode(), "f")


@given(
    body=st.binary(max_size=60)
    | st.text('{}[]",:\n zone_idimage1\x00', max_size=80).map(str.encode)
)
def test_anything_is_pins_or_a_clear_refusal(body: bytes) -> None:
    """No content of a file ends in another error."""
    faults: tuple[str, ...] = ()
    try:
        assert parse(body, "f")
    except ConfigError as error:
        faults = error.faults
    assert all(fault.startswith("f: ") for fault in faults)
    assert len(faults) <= pinfile.MAX_FAULTS + 1


def test_numbers_are_their_text_and_null_is_not_compared() -> None:
    """A number or boolean where text is documented is its text; null or a missing key is no pin."""
    (read,) = parse(
        b'{"zone_id": 7, "image_id": "i", "image_size": 30.0, "image_version": true,'
        b' "os_type": null, "extra": {"a": [1]}, "category": ""}',
        "f",
    )
    assert ("7", "i") == (read.zone_id, read.image_id)
    assert {"image_size": "30.0", "image_version": "true", "category": ""} == read.expected


def test_an_empty_cell_is_not_compared() -> None:
    (read,) = parse(b"image_id,zone_id,account,image_name\ni,z,,\n\n", "f")
    assert Pin(zone_id="z", image_id="i", expected={}) == read


WRITTEN: dict[str, bytes] = {
    "blanks": b" zone_id , image_id\t\nFRA-A, img-1 \n FRA-A\t,\xc2\xa0img-2\n",
    "blanks and quotes": b'"zone_id" , "image_id"\n "FRA-A" , "img-1"\nFRA-A,"img-2" \n',
    "byte order mark and CRLF": b"\xef\xbb\xbfzone_id,image_id\r\nFRA-A,img-1\r\nFRA-A,img-2\r\n",
    "old line ends": b"zone_id,image_id\rFRA-A,img-1\rFRA-A,img-2",
    "commas behind": b"zone_id,image_id\nFRA-A,img-1,\nFRA-A,img-2,,,\n,,,\n",
    "commas behind the header": b"zone_id,image_id,,\nFRA-A,img-1\nFRA-A,img-2,,\n",
    "empty rows": b"\n \nzone_id,image_id\n,\nFRA-A,img-1\n\n , \nFRA-A,img-2\n\n",
    "semicolons": b'zone_id;image_id;image_name\nFRA-A;img-1;\nFRA-A;"img-2";\n',
    "tabs": b"zone_id\timage_id\tx\nFRA-A\t img-1\tx, y\nFRA-A\timg-2\t\n",
    "UTF-16": "zone_id\timage_id\r\nFRA-A\timg-1\r\nFRA-A\timg-2\r\n".encode("utf-16"),
    "UTF-16 without a mark": "zone_id,image_id\nFRA-A,img-1\nFRA-A,img-2".encode("utf-16-be"),
    "JSON in UTF-16": '[{"zone_id":"FRA-A","image_id":"img-1"},{"zone_id":"FRA-A","image_id":'
    '"img-2"}]'.encode("utf-16-le"),
    "pins twice": b"zone_id,image_id\nFRA-A,img-1\nFRA-A,img-2\nFRA-A, img-1\n",
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_people_and_spreadsheets_write_is_read(case: str) -> None:
    """Neither blanks nor marks, separators, line ends and empty cells become part of a pin."""
    pins = parse(WRITTEN[case], "f")
    assert [("FRA-A", "img-1"), ("FRA-A", "img-2")] == [(p.zone_id, p.image_id) for p in pins]
    assert [{}, {}] == [p.expected for p in pins]


def test_blanks_count_where_they_are_quoted() -> None:
    """So that what the API sent with blanks round it can be pinned too."""
    (read,) = parse(b'zone_id,image_id,image_name,os_type\nz," i ", Ubuntu ," a ""b"" "\n', "f")
    assert " i " == read.image_id
    assert {"image_name": "Ubuntu", "os_type": ' a "b" '} == read.expected


def test_lines_are_counted_over_every_line_end() -> None:
    body = b'zone_id,image_id,x\r\nz,i,"a\r\nb\rc\n"\r\n\rz\n'
    with pytest.raises(ConfigError, match="f: line 7: 1 cells"):
        parse(body, "f")


def test_the_same_pin_twice_is_one() -> None:
    """Twice the same, or with more said, is one pin; sizes are alike by number."""
    body = b'{"zone_id":"z","image_id":"i","image_size":"30"}\n%s\n'
    more = b'{"zone_id":"z","image_id":"i","image_size":30.0,"category":"x"}'
    (read,) = parse(body % more, "f")
    assert {"image_size": "30", "category": "x"} == read.expected
    with pytest.raises(ConfigError, match=r"f: line 2: image_size contradicts .* in line 1"):
        parse(body % more.replace(b"30.0", b"31"), "f")


FAULTS: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"\xef\xbb\xbf \n", ["the file is empty"]),
    "no header": (b"FRA-A,img-1\n", ["line 1: no column zone_id and no column image_id"]),
    "half a header": (b"zone_id,name\nz,i\n", ["line 1: no column image_id"]),
    "a header only": (b"zone_id,image_id\n", ["there is no pin in it"]),
    "a column twice": (b"zone_id,image_id,image_id\n", ["line 1: column image_id is there twice"]),
    "ragged": (
        b'zone_id,image_id\nz,i\nz\n"z\n",i,x\nz,i2\n',
        ["line 3: 1 cells, but", "line 4: 3 cells"],
    ),
    "values": (b"zone_id,image_id\n,i\nz,\n", ["2: zone_id is missing", "3: image_id is missing"]),
    "torn csv": (b'zone_id,image_id\nz,i\nz,"i\n', ["line 3: not CSV"]),
    "bad lines": (
        b'{"zone_id":"z","image_id":"i"}\n{"zone\n\nnull\n{"zone_id":{},"image_id":[]}',
        ["2: not JSON", "4: not a JSON object", "5: zone_id must be text", "5: image_id must"],
    ),
    "not a number": (b'{"zone_id":"z","image_id":NaN}', ["line 1: not JSON (NaN is not JSON)"]),
    "bad array": (b'[\n{"zone_id":"z","image_id":"i"},\n1,\n{]', ["3: not a JSON", "4: not JSON"]),
    "an array with a tail": (
        b'[{"zone_id":"z","image_id":"i"}]\n[]',
        ["line 1: not JSON (there is more after the array)"],
    ),
    "an open array": (b'[{"zone_id":"z","image_id":"i"}\n', ["not JSON (a comma or ]"]),
    "an empty array": (b"[]", ["there is no pin in it"]),
    "deep": (b"[" * 100_000, ["line 1: not JSON"]),
    "deep lines": (b'{"zone_id":' + b"[" * 100_000, ["line 1: not JSON"]),
    "not utf-8": (b"zone_id,image_id\nz,\xff\n", ["line 2: not UTF-8"]),
    "torn utf-16": ("zone_id".encode("utf-16")[:-1], ["line 1: not UTF-8 (truncated data): save"]),
    "latin-1": (
        "zone_id,image_id\nz,\xfc\n".encode("latin-1"),
        [
            "line 2: not UTF-8",
        ],
    ),
    "text behind a quote": (b'zone_id,image_id\n"z"y,i\n', ["line 2: not CSV (a quote is not"]),
    "half a header with semicolons": (
        b"zone_id;name\nz;i\n",
        ["line 1: no column image_id (separated by semicolons)"],
    ),
    "ragged with tabs": (
        b"zone_id\timage_id\nz\n",
        ["line 2: 1 cells, but the header has 2 (separated by tabs)"],
    ),
    "more than empty cells": (b"zone_id,image_id\nz,i,,x\n", ["line 2: 4 cells, but the header"]),
    "a huge number": (b'{"zone_id":' + b"9" * 9999 + b',"image_id":1}', ["line 1: not JSON"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_named_with_their_lines(case: str) -> None:
    """All of them, in the order of the lines, and nothing else."""
    body, expected = FAULTS[case]
    with pytest.raises(ConfigError) as caught:
        parse(body, "my pins")
    assert len(expected) == len(caught.value.faults), caught.value.faults
    for words, fault in zip(expected, caught.value.faults, strict=True):
        assert fault.startswith("my pins: ")
        assert words in fault


def test_of_many_faults_ten_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(b"zone_id,image_id\n" + b"z\n" * 25, "f")
    assert 11 == len(caught.value.faults)
    assert "f: and 15 more" == caught.value.faults[-1]


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinfile, "MAX_BYTES", 8)
    with pytest.raises(ConfigError, match="larger than"):
        parse(b"zone_id,image_id\n", "f")


def test_a_later_column_is_compared_where_pin_and_image_know_it() -> None:
    """What either side does not know is no difference; what both know and differs is one."""
    cases: list[tuple[dict[str, str | None], dict[str, str | None], tuple[str, ...]]] = [
        ({"min_disk_size": "30"}, {}, ()),
        ({}, {"min_disk_size": "30"}, ()),
        ({"min_disk_size": "30"}, {"min_disk_size": "30"}, ()),
        ({"min_disk_size": "30"}, {"min_disk_size": "40"}, ("min_disk_size",)),
        ({"min_disk_size": "30"}, {"min_disk_size": None}, ("min_disk_size",)),
    ]
    for expected, added, fields in cases:
        answer = one(judge(pin(**expected), [found(added=added)], [zone()]))
        assert (answer.changed_fields, answer.status) == (
            fields,
            "changed" if fields else "present",
        )
