"""Replies that no API should send, one for each seed, and the smallest that still fails."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

SECRET: Final = "hunter2-"
"""Planted in headers only: no error may show it."""


class Fuzzed(NamedTuple):
    """One reply as it comes off the network."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Span(NamedTuple):
    """Where a part of a document stands: a value, a key, or a member with its key."""

    kind: str
    start: int
    end: int


class Spelt(NamedTuple):
    """A document as bytes, and all its parts."""

    body: bytes
    spans: tuple[Span, ...]


def spell(value: Any) -> Spelt:
    """Write JSON down, noting where each part of it stands."""
    out, spans = bytearray(), []

    def write(part: Any) -> None:
        begun = len(out)
        if isinstance(part, dict):
            out.extend(b"{")
            for number, (key, inner) in enumerate(part.items()):
                out.extend(b"," * (number > 0))
                member = len(out)
                out.extend(msgspec.json.encode(key))
                spans.append(Span("key", member, len(out)))
                out.extend(b":")
                write(inner)
                spans.append(Span("member", member, len(out)))
            out.extend(b"}")
        elif isinstance(part, list):
            out.extend(b"[")
            for number, inner in enumerate(part):
                out.extend(b"," * (number > 0))
                write(inner)
                spans.append(Span("member", *spans[-1][1:]))
            out.extend(b"]")
        else:
            out.extend(part if isinstance(part, bytes) else msgspec.json.encode(part))
        spans.append(Span("value", begun, len(out)))

    write(value)
    return Spelt(bytes(out), tuple(spans))


IDS: Final = ("img-EVhEsCuXhCN0urZ7Vt77oOr6K", "img-R7sPhNGg", "7")
_IMAGE: Final = {
    "imageId": IDS[0],
    "imageName": "Ubuntu Server 18.04 LTS x86 64-bit",
    "imageType": "PUBLIC_IMAGE",
    "imageSize": "30",
    "imageDescription": None,
    "imageVersion": "18.04",
    "imageStatus": "AVAILABLE",
    "category": "Ubuntu",
    "osType": "linux",
}
_SMALL: Final = {"imageId": IDS[1], "imageName": "\u6620\u50cf \U0001f600", "imageSize": 30.5}
_RICH: Final = {
    "imageId": 7,
    "nicNetworkType": ["auto", "vf,virtio"],
    "minDiskSize": 20,
    "tags": {"tags": [{"key": "a", "value": "b"}]},
    "ratio": b"-1.50e-3",
}
_ZONE: Final = {"zoneId": "HKG-A", "zoneName": "Hong Kong", "supportNetworkType": ["x", 1.0, True]}


def _answer(**response: Any) -> dict[str, Any]:
    return {"requestId": "T1", "response": {"requestId": "T1", **response}}


_DOCUMENTS: Final[tuple[Any, ...]] = (
    _answer(totalCount=3, dataSet=[_IMAGE, _SMALL, _RICH]),
    _answer(dataSet=[_RICH, _SMALL, _SMALL], totalCount="2"),
    _answer(dataSet=[_SMALL]),
    _answer(dataSet=None, totalCount=0),
    _answer(images=[{**_SMALL, "catalog": "centos"}]),
    _answer(zoneSet=[_ZONE, {"zoneId": "SEL-A"}, {**_ZONE, "zoneName": None}]),
    _answer(zoneSet=[]),
    {**_answer(), "code": None, "message": None},
    {"requestId": "T1", "code": "INVALID_ZONE_NOT_FOUND", "message": "zoneId `SEL--A`"},
    {"requestId": "T1", "code": "REQUEST_LIMIT_EXCEEDED", "message": "slower"},
    {"requestId": "T1", "code": "AUTHFAILURE_SIGNATURE_EXPIRED", "message": "clock"},
    [],
)
DOCUMENTS: Final = tuple(spell(document) for document in (*_DOCUMENTS[:3] * 4, *_DOCUMENTS))
OTHER: Final = (
    *(b"", b"<html><body>502 Bad Gateway</body></html>", b'{"response":', b'{"response":{}} 1'),
    gzip.compress(DOCUMENTS[0].body, mtime=0),
)


_STRINGS: Final = (
    *(b'""', b'" "', b'"\\u0000"', b'"\x00"', b'"\\ud800"', b'"\\udc00\\ud800"'),
    *(b'"a\\u0000b\\ud800c"', b'"\\ud83d\\ude00"', b'"\\u202e"', b'"\\u0085\\u2028"', b'"\x7f"'),
    *(b'"\\u001b[31m"', b'"\x1b]0;x\x07"', b'"\\r\\n\\t\\b"', b'"\\ufffe\\uffff"', b'"\\ufffd"'),
    *(b'"\xef\xbb\xbf"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"'),
    *(b'"\xe2\x82"', b'"\\u12"', b'"\\x"', b'"', b'"\\"', b"'single'", b'"[[[{"', b'"1e99"'),
    *(b'"text:30"', b'"3e1"', b'" 30.0 "', b'"\xd9\xa3\xd9\xa0"', b'"img-R7sPhNGg"', b'"7.0"'),
    *(b'"' + b"x" * 512 + b'"', b'"' + b"x" * 513 + b'"', b'"' + b"\xc3\xa9" * 300 + b'"'),
    *(b'"' + b"ab\\n" * 700 + b'"', b'"' + b"\\ud800" * 200 + b'"'),
)
_NUMBERS: Final = (
    *(b"0", b"-0", b"-0.0", b"7", b"7.0", b"-7", b"1e2", b"10000001", b"9999999", b"1.10", b"-"),
    *(b"1e308", b"1e999", b"-1e999", b"1e1000", b"1e131072", b"1e200000", b"1e999999999"),
    *(b"1e-400", b"1e-17000", b"0e998", b"0e200000", b"0e-99999", b"-0e-17", b"NaN", b"Infinity"),
    *(b"1e999999999999999999999", b"1e-999999999999999999999", b"9" * 19, b"18446744073709551616"),
    *(b"-" + b"9" * 300, b"9" * 301, b"9" * 1001, b"9" * 4300, b"9" * 4301, b"-Infinity"),
    *(b"0." + b"3" * 999, b"1." + b"3" * 1000, b"01", b"+1", b".5", b"1.", b"1e", b"0x1"),
)
_OTHERS: Final = (
    *(b"null", b"true", b"false", b"[]", b"{}", b"[[],{}]", b"", b"undefined", b"[,]", b"[", b"}"),
    *(b'{"a":1,"a":2}', b'{"\\u0000":1}', b'{"\\ud800":1,"\\udc00":"\\udfff"}', b'{"":{"":null}}'),
    *(b'{"imageId":"img-R7sPhNGg"}', b'[{"imageId":"x","x":1e999}]', b"/**/1", b"1 2"),
    *(b"[" * n + b"]" * n for n in (31, 33, 65, 700)),
    *(b'{"\\u0000":' * n + b"1e1000" + b"}" * n for n in (31, 33, 65, 700)),
)
_MEANT: Final = (b'"code"', b'"response"', b'"dataSet"', b'"totalCount"', b'"imageId"')
VALUES: Final = (*_STRINGS, *_NUMBERS, *_OTHERS)
FLOODS: Final = (
    *(b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"null" + b"}" * 10_000),
    *(b'[{"b":' * 800 + b"1" + b"}]" * 800, b"[" * 100_000, b"]" * 10_000),
    *(b'"' + b"k" * 100_000 + b'"', b'"' + b"m" * 5_000_000 + b'"', b'"' + b'\\"' * 50_000 + b'"'),
    *(b'"' + b"\\ud800" * 20_000 + b'"', b"9" * 140_000, b"1." + b"3" * 20_000),
    *(b"1e" + b"9" * 100_000, b"[" + b"1e998," * 2_000 + b"1]"),
    b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(3_000)) + b"}",
    b"[" + b",".join(b'{"imageId":"i%d"}' % (n % 900) for n in range(1_000)) + b"]",
)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text.decode(), parse_constant=int, parse_int=str)
    except ValueError:
        return False
    return True


VALID: Final = tuple(filter(_is_json, VALUES))
VALID_KEYS: Final = (*filter(_is_json, _STRINGS), *_MEANT)


FAILURES: Final = (
    *(0, 100, 201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 405, 408, 413, 415, 422, 425, 429),
    *(429, 451, 500, 501, 502, 503, 504, 520, 522, 599, 600, 999),
)
_NAMES: Final = (
    *("Retry-After", "retry-after", "Date", "DATE", "cf-mitigated", "CF-Mitigated", "Location"),
    *("Set-Cookie", "Authorization", "Content-Type", "Content-Encoding"),
)
_WORDS: Final = (
    *("", " ", "0", "7", "-1", "1.5", "1e3", "999999", "1000000", "9" * 400, "7\n", "+7", "0x7"),
    *("\u0663", "\uff17", "\u00b2", "soon", "\x00", "\udcff", "\ud800", "inf", "nan"),
    *("challenge", "Challenge; x", ", ,", "Sun,", "1994-11-06T08:49:37Z"),
    *("Sun, 06 Nov 1994 08:49:37 GMT", "06 Nov 1994 08:49:37", "Sun, 06 Nov 0001 00:00:00 -2359"),
    *("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT"),
    *("Mon, 01 Jan 2020 00:00:00 +99999999999999", "Mon, 31 Feb 2020 25:61:61 GMT"),
)


def fuzzed(seed: int) -> Fuzzed:
    """Return the reply of a seed."""
    rng = random.Random(seed)  # noqa: S311
    status = 200 if rng.random() < 0.8 else rng.choice(FAILURES)
    return Fuzzed(status, _headers(rng), _body(rng))


def _headers(rng: random.Random) -> dict[str, str]:
    headers = {"Set-Cookie": SECRET}
    for _ in range(rng.choice((0, 0, 1, 3))):
        text = rng.choice(_WORDS)
        if rng.random() < 0.3:
            words = text.split(" ") + rng.choice(_WORDS).split(" ")
            rng.shuffle(words)
            text = " ".join(words[:7])
        headers[rng.choice(_NAMES)] = text
    return headers


def _body(rng: random.Random) -> bytes:
    if rng.random() < 0.03:
        body = rng.choice((*OTHER, *VALUES, rng.randbytes(rng.randrange(60))))
    else:
        body = _with_odd_parts(rng, rng.choice(DOCUMENTS))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 3))):
        body = rng.choice(_DAMAGES)(rng, body)
    return body


def _with_odd_parts(rng: random.Random, document: Spelt) -> bytes:
    """Replace, drop or repeat some parts of a document, from its end so that places stay right."""
    body, spans = document
    values = rng.choice((VALUES, VALID, VALID, VALID))  # three of four stay JSON
    count = rng.choice((0, 1, 1, 1, 2, 2, 3, 6))
    upto = len(body)
    chosen = rng.choices(spans, k=count)
    for kind, start, end in sorted(chosen, key=attrgetter("start"), reverse=True):
        if end > upto:
            continue
        part, upto = body[start:end], start
        if kind == "member" and rng.random() < 0.5:
            part += b"," + part
        elif kind == "member":
            part = b""
            body = body[:end] + body[end:].removeprefix(b",")
        elif kind == "key":
            part = rng.choice(VALID_KEYS if values is VALID else _STRINGS)
        else:
            part = rng.choice(values if rng.random() > 0.004 else FLOODS)
        body = body[:start] + part + body[end:]
    return body


def _flip(rng: random.Random, body: bytes) -> bytes:
    body = body or b"\x00"
    at = rng.randrange(len(body))
    return body[:at] + bytes((body[at] ^ 1 << rng.randrange(8),)) + body[at + 1 :]


def _cut(rng: random.Random, body: bytes) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _insert(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + rng.choice((*_BYTES, *VALUES)) + body[at:]


def _drop(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at + rng.randrange(1, 20) :]


def _splice(rng: random.Random, body: bytes) -> bytes:
    other = rng.choice(DOCUMENTS).body
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other)) :]


def _encode_anew(rng: random.Random, body: bytes) -> bytes:
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "utf-7"))
    return body.decode("utf-8", "replace").encode(encoding, "replace")


_BYTES: Final = (b"\x00", b"\xff", b"\xef\xbb\xbf", b'"', b"\\", b"{", b"]", b",", b"\n", b"e9")
_DAMAGES: Final = (_flip, _flip, _cut, _insert, _insert, _drop, _splice, _encode_anew)


def smallest(reply: Fuzzed, fails: Callable[[Fuzzed], bool], tries: int = 400) -> Fuzzed:
    """Return a reply as small as can be that still fails."""

    def smaller(reply: Fuzzed) -> Iterator[Fuzzed]:
        for name in reply.headers:
            yield reply._replace(headers={k: v for k, v in reply.headers.items() if k != name})
        step = len(reply.body)
        while step:
            for at in range(0, len(reply.body), step):
                yield reply._replace(body=reply.body[:at] + reply.body[at + step :])
            step //= 2

    candidates = smaller(reply)
    for _ in range(tries):
        candidate = next(candidates, None)
        if candidate is None:
            break
        if fails(candidate):
            reply = candidate
            candidates = smaller(reply)
    return reply
