"""A call of the API: what is asked for, how often it was sent, and its span."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from syncer.tracing import Attributes, Span, span
from syncer.zenlayer.sources import Source

T_co = TypeVar("T_co", covariant=True)


class Call(msgspec.Struct, Generic[T_co]):
    """A call that is made until it succeeds, or has failed too often."""

    source: Source
    action: str
    body: bytes
    read: Callable[..., T_co]
    zone: str | None = None
    page: int | None = None
    sent: int = 0

    def span(self, endpoint: str, waited: float) -> Span:
        """Return a span for sending it, after it waited its turn for so many seconds."""
        self.sent += 1
        name = f"{self.source.service}/{self.action}"
        return span(name, partial(self._attributes, endpoint, waited), remote=True)

    def _attributes(self, endpoint: str, waited: float) -> Attributes:
        parts = urlsplit(endpoint)
        return {
            "http.request.method": "POST",
            "http.request.resend_count": self.sent - 1 or None,
            "server.address": parts.hostname,
            "server.port": parts.port or {"https": 443, "http": 80}[parts.scheme],
            "url.full": f"{endpoint}/api/v2/{self.source.service}",
            "syncer.serve.service": self.source.service,
            "syncer.zone": self.zone,
            "syncer.action": self.action,
            "syncer.page": self.page,
            "syncer.waited": waited,
        }
