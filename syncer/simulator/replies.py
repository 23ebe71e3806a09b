"""What the API says: replies as data, errors, and the envelope round both."""

from __future__ import annotations

import json

import msgspec

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=UTF-8"

# Codes of the documented common errors; statuses without one take the plainest of their class.
_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "AUTHFAILURE_INVALID_AUTHORIZATION",
    403: "OPERATION_FAILED_FOR_RECYCLE_RESOURCE",
    404: "OPERATION_FAILED_RESOURCE_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_TEMPORARY_UNAVAILABLE",
    504: "REQUEST_TIMED_OUT",
}
_FIRST_SERVER_ERROR = 500


class ErrorReply(Exception):
    """The API's refusal of a request, with its HTTP status and code."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def reply(self, request_id: str) -> HttpReply:
        """Return what the client gets."""
        return failure(request_id, self.status, self.code, self.message, self.headers)


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer; ``code`` is the API's error code in it, if it has one."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    content_type: str = JSON_TYPE
    code: str | None = None


def usual_code(status: int) -> str:
    """Return the documented error code that fits an HTTP status best."""
    return _CODES.get(status) or _CODES[500 if status >= _FIRST_SERVER_ERROR else 400]


def success(request_id: str, fields: bytes) -> HttpReply:
    """Answer an action with ``fields``: its members of ``response``, already written as JSON."""
    identity = b'"requestId":"%s"' % request_id.encode()
    body = b"".join(
        (b"{", identity, b',"response":{', identity, b"," if fields else b"", fields, b"}}")
    )
    return HttpReply(status=200, body=body)


def failure(
    request_id: str, status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> HttpReply:
    """Answer with an error: flat, without ``response``."""
    body = json.dumps({"requestId": request_id, "code": code, "message": message}).encode()
    return HttpReply(status=status, body=body, headers=headers or {}, code=code)


def html_page(status: int, title: str, headers: dict[str, str] | None = None) -> HttpReply:
    """Answer with an HTML page, as what stands in front of the API does."""
    text = (
        f"<!DOCTYPE html><html><head><title>{title}</title></head>"
        f"<body><h1>{title}</h1><p>simulated</p></body></html>"
    )
    return HttpReply(
        status=status, body=text.encode(), headers=headers or {}, content_type=HTML_TYPE
    )
