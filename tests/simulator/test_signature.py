"""The signature check, against published and recorded vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncer.simulator.replies import ErrorReply
from syncer.simulator.signature import canonical_request, sign, string_to_sign, verify

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data" / "signature-vectors.json").read_text(encoding="utf-8")
)
VECTORS: list[dict[str, Any]] = RECORDED["vectors"]
NAMES = [vector["name"] for vector in VECTORS]


def headers_of(vector: dict[str, Any]) -> dict[str, str]:
    given = vector.get("all_headers") or {
        "content-type": vector["content_type"],
        "host": vector["host"],
        "x-zc-timestamp": str(vector["timestamp"]),
        "x-zc-signature-method": "ZC2-HMAC-SHA256",
        "authorization": vector["expected_authorization"],
    }
    return {name.lower(): value for name, value in given.items()}


def check(vector: dict[str, Any], *, late: float = 0, **changes: Any) -> str:
    given: dict[str, Any] = {
        "method": vector["method"],
        "headers": headers_of(vector),
        "body": vector["body"].encode(),
        "access_keys": {vector["access_key_id"].strip(): vector["access_key_password"].strip()},
        "tokens": (),
        "now": vector["timestamp"] + late,
    }
    return verify(**{**given, **changes})


def code_of(vector: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ErrorReply) as caught:
        check(vector, **changes)
    assert caught.value.status == 401
    return caught.value.code.removeprefix("AUTHFAILURE_")


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_every_vector_is_accepted(vector: dict[str, Any]) -> None:
    """What the SDK and the documents signed is right, in each intermediate step too."""
    assert check(vector) == vector["access_key_id"].strip()
    request = canonical_request(
        method="POST",
        headers=headers_of(vector),
        names=["content-type", "host"],
        body=vector["body"].encode(),
    )
    if "canonical_request" in vector["intermediate"]:
        assert request == vector["intermediate"]["canonical_request"]


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_every_vector_fails_when_anything_signed_differs(vector: dict[str, Any]) -> None:
    """Body, host, content type, time, method, secret and key id all count."""
    headers = headers_of(vector)
    key = vector["access_key_id"].strip()
    changed = [
        {"body": vector["body"].encode() + b" "},
        {"headers": {**headers, "host": "elsewhere"}},
        {"headers": {**headers, "content-type": "application/json;charset=utf-8"}},
        {"headers": {**headers, "x-zc-timestamp": str(vector["timestamp"] + 1)}},
        {"method": "PUT"},
        {"access_keys": {key: "another"}},
        {"access_keys": {"another": vector["access_key_password"]}},
        {"access_keys": {}},
    ]
    for change in changed:
        assert code_of(vector, **change) == "SIGNATURE_FAILURE"


def test_the_clock_may_differ_by_five_minutes_and_no_more() -> None:
    """300 seconds either way pass, 301 do not, even with a right signature."""
    vector = VECTORS[0]
    assert check(vector, late=300)
    assert check(vector, late=-300)
    assert code_of(vector, late=301) == "SIGNATURE_EXPIRED"
    assert code_of(vector, late=-301) == "SIGNATURE_EXPIRED"


def test_further_signed_headers_count_with_case_and_spaces_evened_out() -> None:
    """Any list of signed headers is honoured: sorted, lower-cased and trimmed as documented."""
    body = b"{}"
    canonical = (
        "POST\n/\n\ncontent-type:application/json\nhost:h\nx-zc-action:describezones\n\n"
        "content-type;host;x-zc-action\n"
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    signature = sign("s", string_to_sign("1000", canonical))
    headers = {
        "content-type": " Application/JSON ",
        "host": "H",
        "x-zc-action": "DescribeZones",
        "x-zc-timestamp": "1000",
        "x-zc-signature-method": "ZC2-HMAC-SHA256",
        "authorization": "ZC2-HMAC-SHA256 Credential=k,"
        f" SignedHeaders=Host;X-ZC-Action;content-type, Signature={signature}",
    }
    given: dict[str, Any] = {"method": "POST", "body": body, "tokens": (), "now": 1000}
    assert verify(headers=headers, access_keys={"k": "s"}, **given) == "k"
    with pytest.raises(ErrorReply, match="not the one the server made"):
        verify(
            headers={**headers, "x-zc-action": "DescribeImages"}, access_keys={"k": "s"}, **given
        )


@pytest.mark.parametrize(
    "change",
    [
        {"authorization": ""},
        {"authorization": "Basic abc"},
        {"authorization": "ZC2-HMAC-SHA256 Credential=k, Signature=00"},
        {"authorization": "ZC2-HMAC-SHA256 Credential=k, SignedHeaders=host, Signature=00"},
        {"authorization": "ZC2-HMAC-SHA256 Credential=k, SignedHeaders=content-type, Signature=0"},
        {
            "authorization": "ZC2-HMAC-SHA256 Credential=k,"
            " SignedHeaders=content-type;host;x-none, Signature=00"
        },
        {"x-zc-timestamp": ""},
        {"x-zc-timestamp": "soon"},
        {"x-zc-timestamp": "-1"},
        {"x-zc-timestamp": "\u0661\u0662"},
        {"x-zc-signature-method": "ZC2-HMAC_SHA256"},
        {"x-zc-signature-method": ""},
    ],
)
def test_what_is_malformed_is_called_so(change: dict[str, str]) -> None:
    """A header that cannot be read has another code than a wrong signature."""
    vector = VECTORS[0]
    headers = {**headers_of(vector), **change}
    assert code_of(vector, headers=headers) == "INVALID_AUTHORIZATION"


def test_bytes_that_are_no_text_are_a_wrong_signature() -> None:
    """A header with bytes that are no UTF-8 is refused like any other."""
    vector = VECTORS[0]
    headers = headers_of(vector)
    headers["authorization"] = headers["authorization"][:-4] + "\udcff"
    assert code_of(vector, headers=headers) == "SIGNATURE_FAILURE"


def test_bearer_tokens_are_known_or_not() -> None:
    """The recorded bearer call is let in with its token and with no other."""
    recorded = RECORDED["bearer"][0]
    given: dict[str, Any] = {
        "method": "POST",
        "headers": {name.lower(): value for name, value in recorded["all_headers"].items()},
        "body": recorded["body"].encode(),
        "access_keys": {},
        "now": 0,
    }
    assert verify(tokens={"other", "tok-123"}, **given) == "token 1"
    with pytest.raises(ErrorReply) as caught:
        verify(tokens={"tok-1234", "tok-12"}, **given)
    assert caught.value.code == "AUTHFAILURE_INVALID_AUTHORIZATION"
