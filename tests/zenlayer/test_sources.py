"""How the replies of a service are read into rows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.errors import ApiError, BadPayload
from syncer.core.model import TRACKED, ZoneRef
from syncer.core.page import Page
from syncer.zenlayer.rows import read_page, read_zones
from syncer.zenlayer.sources import SOURCES
from tests.support import tracked

VM = SOURCES["vm"]
COLUMNS = {api: column for column, api in VM.fields.items()}
FULL = {
    "imageId": "img-1",
    "imageName": "Ubuntu",
    "imageType": "PUBLIC_IMAGE",
    "imageSize": "30",
    "imageDescription": None,
    "imageVersion": "18.04",
    "imageStatus": "AVAILABLE",
    "category": "Ubuntu",
    "osType": "linux",
}
EMPTY = (None,) * len(TRACKED)


def listing(*rows: Any) -> bytes:
    return json.dumps({"dataSet": rows, "totalCount": len(rows)}).encode()


def one(row: Any) -> Page:
    return read_page(VM, listing(row))


def test_a_row_of_the_documents_is_read() -> None:
    """Every documented field lands in its tracked column, and nothing is left over."""
    [image] = one(FULL).rows.images()
    assert image.image_id == "img-1"
    assert dict(zip(TRACKED, image.tracked, strict=True)) == {
        "image_name": "Ubuntu",
        "image_type": "PUBLIC_IMAGE",
        "image_size": "30",
        "image_description": None,
        "image_version": "18.04",
        "image_status": "AVAILABLE",
        "category": "Ubuntu",
        "os_type": "linux",
    }
    assert (image.extra, image.extra_digest) == (None, None)


ZEC_REPLY = b"""{"requestId": "T1", "totalCount": 2, "dataSet": [
    {"imageId": "ubuntu2404_20240712", "imageName": "Ubuntu Server 24.04 LTS",
     "imageType": "PUBLIC_IMAGE", "imageSource": "OFFICIAL", "imageSize": "30", "minDiskSize": 30,
     "imageDescription": null, "imageVersion": "Server 24.04 LTS", "imageStatus": "AVAILABLE",
     "nicNetworkType": ["vf,virtio", "auto"], "category": "Ubuntu", "osType": "linux",
     "tags": {"tags": []}},
    {"imageId": "img-R7sPhNGg", "imageName": "golden", "imageType": "CUSTOM_IMAGE",
     "imageSource": "CUSTOM", "imageSize": null, "imageStatus": "SYNCING", "osType": "linux",
     "tags": {"tags": [{"key": "team", "value": "edge"}]}}]}"""
BMC_REPLY = b"""{"requestId": "T1", "images": [
    {"imageId": "bd5faa16-39d2-4bbf-a5c8-b95a193b1626", "imageName": "CentOS7.4-x86_64",
     "catalog": "centos", "imageType": "PUBLIC_IMAGE", "osType": "linux"}]}"""


def columns_of(image: Any) -> dict[str, str]:
    """The columns of an image that are not null."""
    return {k: v for k, v in zip(TRACKED, image.tracked, strict=True) if v is not None}


def test_a_reply_of_zec_is_read() -> None:
    """An image of zec, and one that is copied yet and has no size; the tags stay in extra."""
    page = read_page(SOURCES["zec"], ZEC_REPLY)
    public, custom = page.rows.images()
    assert (page.total, public.image_id, custom.image_id) == (
        2,
        "ubuntu2404_20240712",
        "img-R7sPhNGg",
    )
    common = {
        "image_name": "Ubuntu Server 24.04 LTS",
        "image_type": "PUBLIC_IMAGE",
        "image_size": "30",
        "image_version": "Server 24.04 LTS",
        "image_status": "AVAILABLE",
        "category": "Ubuntu",
        "os_type": "linux",
    }
    assert common.items() <= columns_of(public).items()
    assert columns_of(custom)["image_status"] == "SYNCING"
    assert "image_size" not in columns_of(custom)
    assert json.loads(custom.extra or "")["tags"] == {"tags": [{"key": "team", "value": "edge"}]}


def test_a_reply_of_bmc_is_read() -> None:
    """Rows are ``images``, there is no total, and the catalog is the category."""
    page = read_page(SOURCES["bmc"], BMC_REPLY)
    [image] = page.rows.images()
    assert (page.total, image.extra) == (None, None)
    assert image.image_id == "bd5faa16-39d2-4bbf-a5c8-b95a193b1626"
    assert columns_of(image) == {
        "image_name": "CentOS7.4-x86_64",
        "image_type": "PUBLIC_IMAGE",
        "category": "centos",
        "os_type": "linux",
    }


def test_bmc_is_asked_in_one_language_and_without_zone_or_page() -> None:
    """Names of zones depend on the language; images come all at once, or by id."""
    bmc = SOURCES["bmc"]
    assert json.loads(bmc.zones_request()) == {"acceptLanguage": "en-US"}
    assert json.loads(bmc.images_request("*", page=1, page_size=50)) == {}
    assert json.loads(bmc.images_request("*", image_ids=("a",))) == {"imageIds": ["a"]}


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (30, "30"),
        (30.5, "30.5"),
        (True, "true"),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        ("a\x00\ud800", "a\ufffd\ufffd"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("field", sorted(FULL.keys() - {"imageId"}))
def test_a_field_of_any_type_is_kept_as_text(field: str, value: Any, stored: str | None) -> None:
    """Null, a number, a boolean or an object where text is documented is data, not an error."""
    rows = one({**FULL, field: value})
    assert rows.rows.rejected == 0
    [image] = rows.rows.images()
    assert dict(zip(TRACKED, image.tracked, strict=True))[COLUMNS[field]] == stored


@pytest.mark.parametrize("field", sorted(FULL.keys() - {"imageId"}))
def test_a_missing_field_is_as_good_as_null(field: str) -> None:
    """A field that was not sent and one that is null have one fingerprint."""
    [missing] = one({name: value for name, value in FULL.items() if name != field}).rows.images()
    [null] = one({**FULL, field: None}).rows.images()
    assert missing == null


def test_a_row_of_an_id_alone_is_an_image() -> None:
    """An id is all that an image needs."""
    [image] = one({"imageId": "x"}).rows.images()
    assert (image.image_id, image.tracked, image.extra) == ("x", EMPTY, None)


def test_unknown_fields_go_to_extra() -> None:
    """What the API added is kept as canonical text and leaves the fingerprint alone."""
    [known] = one(FULL).rows.images()
    [more] = one({**FULL, "zeta": [1.50, {"b": "\x00", "a": None}], "alpha": True}).rows.images()
    assert more.extra == '{"alpha":true,"zeta":[1.5,{"a":null,"b":"\ufffd"}]}'
    assert more.fingerprint == known.fingerprint
    assert more.extra_digest != known.extra_digest


def test_numbers_in_extra_are_kept_exactly() -> None:
    """A number keeps every digit it came with."""
    body = b'{"dataSet":[{"imageId":"a","n":1.10,"big":123456789012345678901234567890}]}'
    [image] = read_page(VM, body).rows.images()
    assert image.extra == '{"big":123456789012345678901234567890,"n":1.10}'


@pytest.mark.parametrize("literal", [b"1e999999999999999999999", b"-1e-999999999999999999999"])
@pytest.mark.parametrize("name", [b"x", b"imageName", b"imageId"])
def test_a_number_beyond_decimal_is_kept_as_text(literal: bytes, name: bytes) -> None:
    """An absurd exponent in one row harms neither the row nor its zone."""
    rows = read_page(VM, b'{"dataSet":[{"imageId":"a","' + name + b'":' + literal + b"}]}")
    assert (rows.served, rows.rows.rejected) == (1, 0)


@pytest.mark.parametrize(
    "row",
    [
        None,
        "img-1",
        7,
        True,
        [],
        ["img-1"],
        {},
        {"imageid": "img-1"},
        {"imageId": None},
        {"imageId": ""},
        {"imageId": " \t"},
        {"imageId": "x" * 513},
        {"imageId": "é" * 257},
        {"imageId": "a\x00b"},
        {"imageId": "a\ud800b"},
        {"imageId": "\ufffd"},
        {"imageId": ["img-1"]},
        {"imageId": {"id": 1}},
        {"imageId": True},
    ],
    ids=repr,
)
def test_a_row_that_cannot_be_kept_is_rejected_alone(row: Any) -> None:
    """A row without a usable id is counted; the rows beside it are read."""
    rows = read_page(VM, listing(FULL, row, {"imageId": "last"}))
    assert [image.image_id for image in rows.rows.images()] == ["img-1", "last"]
    assert (rows.served, rows.rows.rejected, rows.total) == (3, 1, 3)


@pytest.mark.parametrize(
    ("value", "image_id"),
    [(7, "7"), (0, "0"), ("x" * 512, "x" * 512), (" a ", " a "), ("é" * 256, "é" * 256)],
)
def test_any_other_id_is_kept_as_it_is(value: Any, image_id: str) -> None:
    """A numeric id is its text; an id is neither trimmed nor changed, up to 512 bytes."""
    [image] = one({"imageId": value}).rows.images()
    assert image.image_id == image_id


@pytest.mark.parametrize(
    ("literal", "total"),
    [
        ("7", 7),
        ("0", 0),
        ('"7"', 7),
        ('"007"', 7),
        ("7.0", 7),
        ("7e0", 7),
        ("70e-1", 7),
        ("null", None),
        ("-1", -1),
        ("-7", -1),
        ("7.5", -1),
        ("true", -1),
        ("false", -1),
        ('"x"', -1),
        ('""', -1),
        ('"-7"', -1),
        ('"7.0"', -1),
        ('"\u0667"', -1),
        ('"1234567890123456"', -1),
        ("1e30", -1),
        ("1e999999999", -1),
        ("1e999999999999999999999", -1),
        ("9" * 5000, -1),
        ("[7]", -1),
        ("{}", -1),
    ],
)
def test_a_total_is_a_count_absent_or_invalid(literal: str, total: int | None) -> None:
    """TotalCount counts where it is a whole number in any spelling; anything else is invalid."""
    rows = read_page(VM, f'{{"dataSet":[{{"imageId":"a"}}],"totalCount":{literal}}}'.encode())
    assert rows.total == total
    assert rows.served == 1


def test_a_total_that_is_not_sent_is_absent() -> None:
    """Without totalCount the pages are read until one is empty; that is not invalid."""
    assert read_page(VM, b'{"dataSet":[]}').total is None


@pytest.mark.parametrize("body", [b'{"dataSet":null,"totalCount":0}', b'{"totalCount":0}'])
def test_no_rows_may_be_said_in_three_ways(body: bytes) -> None:
    """An empty list, null and nothing at all are all no rows, where a total is sent."""
    read = read_page(VM, body)
    assert ([], 0, 0, 0) == (read.rows.images(), read.served, read.rows.rejected, read.total)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"requestId":"T1"}',
        b'{"images":[]}',
        b'{"dataSet":{},"totalCount":1}',
        b'{"dataSet":"none"}',
        b'{"dataSet":7,"totalCount":7}',
        b"[]",
        b"null",
        b'"x"',
    ],
)
def test_another_shape_is_a_bad_payload(body: bytes) -> None:
    """A reply without rows and total, or with rows that are no list, is not guessed at."""
    with pytest.raises(BadPayload):
        read_page(VM, body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["imageId", "imageName", "imageSize", "dataSet", "totalCount", "x"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values | st.lists(json_values).map(lambda rows: {"dataSet": rows}))
@settings(max_examples=60, deadline=None)
def test_any_json_is_rows_or_a_named_error(value: Any) -> None:
    """Whatever stands in the response, each row served is an image or is counted as rejected."""
    body = json.dumps(value).encode()
    try:
        rows = read_page(VM, body)
    except ApiError:
        return
    assert rows.served == len(rows.rows.images()) + rows.rows.rejected
    assert rows.total is None or rows.total >= -1
    for image in rows.rows.images():
        assert 0 < len(image.image_id.encode()) <= 512
        msgspec.json.encode((image.image_id, image.tracked, image.extra))
        assert "\x00" not in "".join(filter(None, image.tracked))


def test_the_requests_are_as_documented() -> None:
    """Zone, paging and ids go into the body under the API's names; nothing else does."""
    decode = json.loads
    assert decode(VM.zones_request()) == {}
    assert decode(VM.images_request("HKG-A")) == {
        "zoneId": "HKG-A",
        "pageNum": 1,
        "pageSize": 1000,
    }
    assert decode(VM.images_request("HKG-A", page=3, page_size=50, image_ids=("a", "b"))) == {
        "zoneId": "HKG-A",
        "imageIds": ["a", "b"],
        "pageNum": 3,
        "pageSize": 50,
    }


def test_zones_are_read_with_all_they_say() -> None:
    """A zone is its id and name; the rest is kept as canonical text."""
    body = json.dumps(
        {
            "zoneSet": [
                {"zoneId": "HKG-A", "zoneName": "Hong Kong", "b": 1, "a": {"y": 2, "x": 1}},
                {"zoneId": "SEL-A"},
                {"zoneName": "nameless"},
                {"zoneId": ""},
                "FRA-A",
            ]
        }
    ).encode()
    zones, unusable = read_zones(VM, body)
    assert [(zone.ref, zone.name, zone.attributes) for zone in zones] == [
        (ZoneRef("vm", "HKG-A"), "Hong Kong", '{"a":{"x":1,"y":2},"b":1}'),
        (ZoneRef("vm", "SEL-A"), None, "{}"),
    ]
    assert unusable == 3


@pytest.mark.parametrize("body", [b"{}", b'{"zoneSet":null}', b'{"zoneSet":{}}', b"[]"])
def test_zones_of_another_shape_are_a_bad_payload(body: bytes) -> None:
    """No list of zones is not an empty list of zones."""
    with pytest.raises(BadPayload):
        read_zones(VM, body)


def test_a_zone_listed_twice_is_one_zone() -> None:
    """A repeated zone is scanned once."""
    zones, _ = read_zones(VM, b'{"zoneSet":[{"zoneId":"A"},{"zoneId":"A","zoneName":"n"}]}')
    assert [zone.ref.zone_id for zone in zones] == ["A"]


def test_a_service_maps_the_columns_it_has() -> None:
    """Other names, fewer fields, in any order: each lands in its column, the others are null."""
    other = msgspec.structs.replace(
        VM, rows="images", total=None, fields={"os_type": "system", "image_name": "title"}
    )
    row = {"imageId": "a", "title": "T", "system": "linux", "imageName": "n"}
    page = read_page(other, json.dumps({"images": [row]}).encode())
    [image] = page.rows.images()
    assert tracked(image_name="T", os_type="linux") == image.tracked
    assert ('{"imageName":"n"}', None) == (image.extra, page.total)


@pytest.mark.parametrize("fields", [{"colour": "color"}, {"image_name": "a", "os_type": "a"}])
def test_a_service_cannot_map_what_is_not_there(fields: dict[str, str]) -> None:
    """A column that is not tracked, and one field for two columns, are errors of the program."""
    with pytest.raises(ValueError, match="tracked column"):
        msgspec.structs.replace(VM, fields=fields)
