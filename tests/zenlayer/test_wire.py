"""The wire format: signing, reading replies, and what each failure means."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from syncer.core.errors import (
    ApiError,
    BadPayload,
    Challenged,
    Denied,
    ImageNotFound,
    NetworkDenied,
    Refused,
    Retryable,
    SignatureExpired,
    Throttled,
    TornRead,
    Unreachable,
    ZoneNotFound,
)
from syncer.core.jsontext import decode
from syncer.zenlayer import wire

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data" / "signature-vectors.json").read_text(encoding="utf-8")
)
VECTORS: list[dict[str, Any]] = RECORDED["vectors"]
ANY = msgspec.json.Decoder()
OBJECT = msgspec.json.Decoder(dict[str, Any])

NASTY = [
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf",
    b"NaN",
    b"[Infinity]",
    b'{"code":-Infinity}',
    b'{"response":1e999,"code":1e999}',
    b"[1e999999999999999999999]",
    b'["\\ud800",1e999999999999999999999,-1e-999999999999999999999]',
    b'{"code":1e999999999999999999999}',
    b'{"code":' + b"9" * 5000 + b"}",
    b'["\\udc00",' + b"9" * 5000 + b"]",
    b'["\\udc00",' + b"-" + b"9" * 400 + b".5e-400]",
    b'{"code":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b"[" * 5_000,
    b"]" * 5_000,
    b'{"a":' * 5_000,
    b"[" * 5_000 + b"]" * 4_999,
    b'{"a":1,"a":2,"code":"X","code":null}',
    b'{"response":{"dataSet":[{"imageId":"x"',
    b'{"response":{}} trailing',
    b'{"response":',
    b'"\xed\xa0\x80"',
    b'"\\u00',
    b'"\\',
    b"'single'",
    b"<html><body>502 Bad Gateway</body></html>",
]


def reply(status: int, body: bytes, **headers: str) -> wire.Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.read(status=status, headers=CIMultiDict(named), body=body)


def failure(status: int, body: bytes, **headers: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        reply(status, body, **headers)
    return caught.value


def flat(code: str, message: str = "said") -> bytes:
    return json.dumps({"requestId": "T1", "code": code, "message": message}).encode()


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_every_recorded_signature_is_reproduced(vector: dict[str, Any]) -> None:
    """Our headers are, byte for byte, what the SDK and the documents signed."""
    key_id, secret = vector["access_key_id"].strip(), vector["access_key_password"].strip()
    ours = wire.key_pair_headers(
        key_id=key_id,
        secret=secret,
        host=vector["host"],
        content_type=vector["content_type"],
        timestamp=vector["timestamp"],
        body=vector["body"].encode(),
    )
    assert ours["Authorization"] == vector["expected_authorization"]
    assert ours["Authorization"].endswith(f"Signature={vector['intermediate']['signature']}")
    for name, value in CIMultiDict(vector.get("all_headers", {})).items():
        if name.lower() in {"authorization", "x-zc-timestamp", "x-zc-signature-method"}:
            assert CIMultiDict(ours)[name] == value


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_signed_header_values_are_lowered_and_trimmed(vector: dict[str, Any]) -> None:
    """The case of a host or content type, and space round it, do not change the signature."""
    assert (
        wire.signature(
            secret=vector["access_key_password"].strip(),
            host=f" {vector['host'].upper()}\t",
            content_type=f"{vector['content_type'].upper()} ",
            timestamp=vector["timestamp"],
            body=vector["body"].encode(),
        )
        == vector["intermediate"]["signature"]
    )


def test_the_published_example_is_signed_as_published() -> None:
    """The one signature printed in Zenlayer's documents comes out."""
    assert (
        wire.signature(
            secret="Gu5t9xGARNpq86cd98joQYCN3",
            host="console.zenlayer.com",
            content_type="application/json; charset=utf-8",
            timestamp=1673361177,
            body=b'{"pageSize":10,"pageNum":1,"zoneId":"HKG-A"}',
        )
        == "efb356c32e55c781e10dc676da59462c22596d82e91c57803666243379555b2f"
    )


def test_a_token_is_sent_alone() -> None:
    """A bearer token is the only header of its kind: no timestamp, no signature method."""
    assert wire.token_headers("tok-123") == {"Authorization": "Bearer tok-123"}


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_value_or_a_named_error(body: bytes) -> None:
    """Whatever a server sends, decode and read return or raise a ApiError, nothing else."""
    for call in (
        lambda: decode(ANY, body),
        lambda: decode(OBJECT, body),
        lambda: reply(200, body),
        lambda: reply(500, body),
    ):
        with suppress(ApiError):
            call()


@pytest.mark.parametrize("body", NASTY, ids=lambda body: repr(body[:24]))
def test_every_nasty_body_is_survived(body: bytes) -> None:
    """The worst bodies we could think of end in a value or a ApiError, as JSON or inside it."""
    for whole in (body, b'{"response":' + body + b"}", b'{"code":' + body + b"}"):
        for status in (200, 404):
            with suppress(ApiError):
                reply(status, whole)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=4), inner)
    ),
    max_leaves=12,
)


@given(json_values, st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_truncated_json_is_torn(value: Any, cut: int) -> None:
    """A body that was cut off anywhere may be asked for again."""
    body = json.dumps({"response": value}).encode()
    with pytest.raises(TornRead):
        decode(ANY, body[: min(cut, len(body) - 1)])


@given(json_values)
@settings(max_examples=40, deadline=None)
def test_json_with_surrogates_is_read(value: Any) -> None:
    """Valid JSON is read whatever its strings hold: a lone surrogate becomes U+FFFD."""
    read = decode(ANY, json.dumps(["\ud800", value]).encode())
    assert read[0] == "\ufffd"
    json.dumps(read, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'["\\ud83d\\ude00","\\ud83d"]', ["\U0001f600", "\ufffd"]),
        (b'["\\ud800",1.50,9007199254740993]', ["\ufffd", 1.5, 9007199254740993]),
        (b'["\\ud800",' + b"9" * 301 + b"]", ["\ufffd", "9" * 301]),
        (b'["\\ud800","[[[[\\"{"]', ["\ufffd", '[[[["{']),
        (b'{"\\udfff":[]}', {"\ufffd": []}),
    ],
    ids=["duplicate key", "BOM", "pair", "exact numbers", "long integer", "brackets", "key"],
)
def test_what_msgspec_refuses_is_read_all_the_same(body: bytes, value: object) -> None:
    """Oddities of real JSON are repaired, not refused, and change nothing beside them."""
    assert decode(ANY, body) == value


def test_too_deep_containers_become_a_remark() -> None:
    """The 64th container inside another, which parsers refuse in the end, is replaced."""
    body = b'{"keep":[1],"deep":' + b"[" * 5_000 + b"]" * 5_000 + b',"after":2}'
    value = decode(OBJECT, body)
    assert (value["keep"], value["after"]) == ([1], 2)
    deep, levels = value["deep"], 0
    while isinstance(deep, list):
        deep, levels = deep[0], levels + 1
    assert (deep, levels) == ("(nested too deeply)", 62)


def test_numbers_beyond_decimal_stay_text() -> None:
    """An exponent that no Decimal holds is kept as it was written."""
    assert decode(ANY, b'["\\ud800",1e999999999999999999999]') == [
        "\ufffd",
        "1e999999999999999999999",
    ]


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_only_python_calls_json_is_torn(constant: bytes) -> None:
    """NaN and the infinities are no JSON."""
    with pytest.raises(TornRead):
        decode(ANY, b"[" + constant + b"]")


def test_another_shape_is_no_torn_read() -> None:
    """JSON of a wrong shape is BadPayload: asking again would bring the same."""
    with pytest.raises(BadPayload, match="shape"):
        decode(OBJECT, b"[1]")


def test_a_cut_off_string_costs_no_more_than_it_is_long() -> None:
    """Any number of escaped quotes without an end is refused at once, not in quadratic time."""
    begun = time.process_time()
    with pytest.raises(TornRead):
        decode(ANY, b'"' + b'\\"' * 200_000)
    assert time.process_time() - begun < 2


def test_a_success_gives_the_response_and_the_request_id() -> None:
    """The bytes of ``response`` come out as they were sent, with the outer request id."""
    got = reply(200, b'{"response": {"totalCount": 0} , "requestId":"T-1"}')
    assert got == wire.Reply(b'{"totalCount": 0}', "T-1")
    assert reply(200, b'{"response":{},"code":null}') == wire.Reply(b"{}", None)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (500, "INTERNAL_SERVER_ERROR", Unreachable),
        (503, "SERVICE_TEMPORARY_UNAVAILABLE", Unreachable),
        (503, "REQUEST_TIMED_OUT", Unreachable),
        (401, "AUTHFAILURE_INVALID_AUTHORIZATION", Denied),
        (401, "AUTHFAILURE_SIGNATURE_FAILURE", Denied),
        (401, "AUTHFAILURE_UNAUTHORIZED_OPERATION", Denied),
        (401, "AUTHFAILURE_SIGNATURE_EXPIRED", SignatureExpired),
        (400, "MISSING_PARAMETER", Refused),
        (400, "INVALID_PARAMETER_TYPE", Refused),
        (400, "INVALID_PARAMETER_EXCEED_MAXIMUM", Refused),
        (400, "INVALID_PARAMETER_LESS_MINIMUM", Refused),
        (400, "INVALID_PARAMETER_EXCEED_LENGTH", Refused),
        (400, "INVALID_PARAMETER_LESS_LENGTH", Refused),
        (400, "INVALID_PARAMETER_PATTERN_ERROR", Refused),
        (400, "INVALID_PARAMETER_DATE_FORMAT_ERROR", Refused),
        (400, "INVALID_PARAMETER_VALUE", Refused),
        (403, "OPERATION_FAILED_FOR_RECYCLE_RESOURCE", Refused),
        (404, "OPERATION_FAILED_RESOURCE_GROUP_NOT_FOUND", Refused),
        (404, "OPERATION_FAILED_RESOURCE_NOT_FOUND", ImageNotFound),
        (404, "INVALID_IMAGE_NOT_FOUND", ImageNotFound),
        (404, "INVALID_ZONE_NOT_FOUND", ZoneNotFound),
        (404, "INVALID_REGION_NOT_FOUND", ZoneNotFound),
        (429, "REQUEST_LIMIT_EXCEEDED", Throttled),
        (503, "REQUEST_LIMIT_EXCEEDED", Throttled),
        (404, "NEVER_SEEN_BEFORE", Refused),
    ],
)
def test_every_documented_code_means_one_thing(
    status: int, code: str, kind: type[ApiError]
) -> None:
    """Each code of the API's list maps to its class, with the documented status and with 200."""
    for given_status in (status, 200):
        error = failure(given_status, flat(code))
        assert type(error) is kind
        assert (error.code, error.request_id) == (code, "T1")
        assert code in error.message


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (204, TornRead, "HTTP_204"),
        (302, Refused, "HTTP_302"),
        (400, Refused, "HTTP_400"),
        (401, Denied, "HTTP_401"),
        (403, Refused, "HTTP_403"),
        (404, Refused, "HTTP_404"),
        (407, NetworkDenied, "PROXY_LOGIN"),
        (429, Throttled, "HTTP_429"),
        (451, Denied, "REQUEST_BLOCKED"),
        (500, Unreachable, "HTTP_500"),
        (501, Refused, "HTTP_501"),
        (502, Unreachable, "HTTP_502"),
        (503, Unreachable, "HTTP_503"),
        (504, Unreachable, "HTTP_504"),
        (511, NetworkDenied, "NETWORK_LOGIN"),
    ],
)
def test_a_status_without_a_code_decides_by_itself(
    status: int, kind: type[ApiError], code: str
) -> None:
    """Proxies answer in HTML or not at all; the status alone says what can be done."""
    for body in (b"", b"<html>no</html>", b"[]", b"{}", b'{"code":null}'):
        error = failure(status, body)
        assert (type(error), error.code) == (kind, code)


PORTAL = (
    b"\xef\xbb\xbf\r\n<!DOCTYPE html><HTML><head><Title lang=en>\n Guest &amp; Co\n login</title>"
)


@pytest.mark.parametrize("body", [PORTAL, PORTAL[3:], b"<html>maintenance</html>", b"<?xml?><a/>"])
def test_html_with_200_is_named_and_may_be_asked_for_again(body: bytes) -> None:
    """A page in the place of an answer: of a portal, a proxy, or a server that is maintained."""
    error = failure(200, body)
    assert (TornRead, "HTML_REPLY") == (type(error), error.code)
    title = ', "Guest & Co login"' if b"Title" in body else ""
    assert f"not the API's but a page of HTML{title}: a portal, proxy or" in error.message


def test_a_page_with_any_status_is_named() -> None:
    """The words of whoever refused are in the message; of a long page its title only."""
    error = failure(403, PORTAL + b"x" * 100_000)
    assert 'HTTP_403 (HTTP 403): a page of HTML, "Guest & Co login"' in error.message
    assert failure(502, b"<title></title>").message.endswith("(HTTP 502): a page of HTML")
    assert len(failure(403, b"<title>" + b"long " * 10_000 + b"</title>").message) < 250


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_a_reply_without_a_body_is_empty(body: bytes) -> None:
    """With a status that says so, and with one that does not: nothing came, asking may help."""
    for status in (200, 204, 205):
        error = failure(status, body)
        assert type(error) is TornRead
        assert "the reply is empty" in error.message


def test_what_a_gateway_changed_is_a_success() -> None:
    """203 is how a gateway says that the reply went through its hands."""
    assert reply(203, b'{"response":{},"requestId":"T"}') == wire.Reply(b"{}", "T")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("http://u:p@portal.example/login?x=y", " to portal.example"),
        ("/login", ""),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_a_redirect_says_where_it_leads(location: str, place: str) -> None:
    """To which host, nothing else: a portal is recognised by it."""
    error = failure(302, b"", Location=location)
    assert f"redirect (HTTP 302{place}), which is never followed" in error.message


@pytest.mark.parametrize("header", ["cf-mitigated", "Cf-Mitigated", "CF-MITIGATED"])
@pytest.mark.parametrize("value", ["challenge", "Challenge"])
def test_a_challenge_ends_the_run(header: str, value: str) -> None:
    """A Cloudflare challenge is recognised whatever the case of its header."""
    error = failure(403, b"<html>", **{header: value})
    assert (type(error), error.code) == (Challenged, "SECURITY_CHALLENGE")


def test_only_a_403_is_a_challenge() -> None:
    """The header on another status changes nothing."""
    assert type(failure(429, b"", cf_mitigated="challenge")) is Throttled
    assert type(failure(403, b"", cf_mitigated="no")) is Refused


def test_only_what_may_help_is_retried() -> None:
    """Refusals of the request and of us are never repeated."""
    for again in (Throttled, Unreachable, TornRead):
        assert issubclass(again, Retryable)
    for kind in (Denied, SignatureExpired, Refused, ZoneNotFound, ImageNotFound, BadPayload):
        assert not issubclass(kind, Retryable)


@pytest.mark.parametrize("body", [b"{}", b'{"requestId":"T9"}', b'{"data":{}}'])
def test_an_envelope_without_anything_is_a_bad_payload(body: bytes) -> None:
    """A 200 with neither a response nor a code has another shape than the documented one."""
    assert type(failure(200, body)) is BadPayload


@pytest.mark.parametrize("code", [b"5", b'["X"]', b"true", b'{"a":"\\u0000"}', b'"\\ud800"'])
def test_a_code_of_any_type_is_an_error(code: bytes) -> None:
    """A 200 with a code, whatever its type, is an error even beside a response."""
    error = failure(200, b'{"response":{},"code":' + code + b"}")
    assert type(error) is Refused
    error.code.encode()
    assert "\x00" not in error.code


def test_a_long_message_is_cut() -> None:
    """A message of any length is bounded, and holds nothing that PostgreSQL refuses."""
    error = failure(404, flat("X", "\x00\ud800" + "m" * 10_000))
    assert len(error.message) < 600
    assert "\x00" not in error.message
    error.message.encode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 12 ", 12.0),
        ("999999", 999999.0),
        ("1000000", 1e6),
        ("9" * 400, 1e6),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),  # and no Date to count from
    ],
)
def test_retry_after_is_whole_seconds_or_nothing(value: str, seconds: float | None) -> None:
    """Retry-After counts where it is a plain number of seconds, in any case of the header."""
    for header in ("Retry-After", "retry-after", "RETRY-AFTER"):
        for status in (429, 503):
            error = failure(status, b"", **{header: value})
            assert isinstance(error, Throttled | Unreachable)
            assert error.after == seconds
    assert wire.retry_after({}) is None


FORMS = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
]


@pytest.mark.parametrize("form", FORMS)
def test_the_date_of_a_reply_is_read(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Date header, in each form of RFC 9110, gives seconds since 1970, whatever our time zone."""
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    try:
        assert wire.server_time({"Date": form}) == 784111777.0
    finally:
        monkeypatch.undo()
        time.tzset()
    assert wire.server_time({}) is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:30 GMT", 7.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Sun, 06 Nov 1994 09:49:37 GMT", 0.0),
        ("Sat, 06 Nov 1993 08:49:37 GMT", 1e6),
        ("soon", None),
        (None, None),
    ],
    ids=["ahead", "now", "past", "far ahead", "no date", "none"],
)
def test_retry_after_may_be_a_moment_by_the_servers_clock(
    form: str, date: str | None, seconds: float | None
) -> None:
    """It counts from the reply's own Date, decades from our clock; never backward, nor for ever."""
    error = failure(503, b"", Retry_After=form, **({"Date": date} if date else {}))
    assert isinstance(error, Unreachable)
    assert error.after == seconds


@given(
    st.text(max_size=40)
    | st.from_regex(
        r"(Mon, )?[0-9]{1,25} (Jan|Feb|Xyz) [0-9]{1,25} [0-9:]{0,12} ([+-][0-9]{1,25}|GMT)?",
        fullmatch=True,
    )
)
@example("Mon, 99999999999999999999 Jan 2020 00:00:00 GMT")
@example("Mon, 01 Jan 2020 00:00:00 +99999999999999")
@settings(max_examples=60, deadline=None)
def test_no_date_header_breaks_anything(value: str) -> None:
    """Whatever stands in Date, its time is a number or unknown."""
    assert isinstance(wire.server_time({"Date": value}), float | None)
    dated = {"Date": FORMS[0], "Retry-After": value}
    assert 0 <= (wire.retry_after(dated) or 0.0) <= wire.LONGEST_PAUSE
