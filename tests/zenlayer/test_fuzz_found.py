"""What the fuzz of the reply reader found, each as a claim of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncer.core.diff import new_names
from syncer.core.errors import ApiError
from syncer.core.normalise import same_json
from syncer.core.page import INVALID_TOTAL
from syncer.zenlayer import wire
from syncer.zenlayer.rows import MAX_JSON, read_page, read_zones
from syncer.zenlayer.sources import SOURCES

VM = SOURCES["vm"]


def failure(status: int, **body: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        wire.read(status=status, headers={}, body=json.dumps(body).encode())
    return caught.value


def test_an_error_cannot_write_to_the_terminal() -> None:
    """Control characters in the API's words do not reach a log or a terminal; it is one line."""
    error = failure(
        400, code="\x1b[31mX", message="a\r\n\tb\x1b]0;c\x07\u202ed", requestId="T\x9b1"
    )
    assert ("\ufffd[31mX", "T\ufffd1") == (error.code, error.request_id)
    assert error.message.endswith(": a b\ufffd]0;c\ufffd\ufffdd")


@pytest.mark.parametrize("code", ["C" * 10_000, {"a": ["X"] * 10_000}, [1] * 10_000, 10**4000])
def test_a_code_of_any_length_is_cut(code: Any) -> None:
    """A code is stored, logged and shown with each zone that it failed: 100 characters at most."""
    assert 100 >= len(failure(200, code=code).code)
    assert "A" * 90 == failure(200, code="A" * 90 + " " + "B" * 90).code


def test_a_request_id_is_shown_as_it_may_be() -> None:
    """The request id of a good answer is as harmless as that of a bad one."""
    body = b'{"requestId":"T\\u001b1","response":{}}'
    assert "T\ufffd1" == wire.read(status=200, headers={}, body=body).request_id


def test_a_total_of_any_length_is_invalid() -> None:
    """A totalCount of thousands of digits is no number to be shown in a message."""
    body = b'{"dataSet":[],"totalCount":' + b"9" * 4300 + b"}"
    assert INVALID_TOTAL == read_page(VM, body).total


def test_a_name_that_no_index_takes_is_known_by_its_beginning() -> None:
    """A new field whose name is longer than an index takes does not fail its zone."""
    body = json.dumps({"dataSet": [{"imageId": "a", "\U0001f600" * 10_000: 1}]}).encode()
    extras = [image.extra or "" for image in read_page(VM, body).rows.images()]
    [name] = new_names((), extras)
    assert "\U0001f600" * 200 == name
    assert not new_names((name,), extras)


def test_a_row_of_more_than_jsonb_gives_back_is_rejected() -> None:
    """A row with over sixteen million characters of untracked fields is rejected."""
    for length, rejected in ((MAX_JSON - 8, 0), (MAX_JSON - 7, 1)):
        row = {"imageId": "a", "x": "y" * length}
        rows = read_page(VM, json.dumps({"dataSet": [row, {"imageId": "b"}]}).encode())
        assert (2, rejected) == (rows.served, rows.rows.rejected)
        zones = {"zoneSet": [{"zoneId": "a", "x": "y" * length}, {"zoneId": "b"}]}
        assert rejected == read_zones(VM, json.dumps(zones).encode())[1]


@pytest.mark.parametrize(
    ("sent", "stored", "same"),
    [
        ("-0.0", "0.0", True),
        ("-0", "0", True),
        ("1E+98", "1" + "0" * 98, True),
        ("9" * 98 + "1", "9" * 98 + "2", False),
        ("1." + "0" * 30 + "1", "1." + "0" * 30, False),
    ],
)
def test_numbers_are_the_same_to_the_last_digit(sent: str, stored: str, same: bool) -> None:
    """A zone is not described anew for a -0, which jsonb does not know, but for any digit."""
    assert same == same_json(f'{{"a":{sent}}}', f'{{"a": {stored}}}')
