"""Who calls the API, where it is, and how much it may be asked."""

from __future__ import annotations

import msgspec

from syncer.secrets import Secret


class Token(msgspec.Struct, frozen=True):
    """A bearer token."""

    token: Secret


class KeyPair(msgspec.Struct, frozen=True):
    """An access key pair."""

    key_id: str
    secret: Secret


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How the API is called for one account. Without ``credentials`` nothing is signed.

    ``proxy`` is a URL. ``max_concurrency`` counts calls under way, ``max_rate`` calls a second
    (None: the API's own limit is found); ``request_timeout`` is seconds for one call, its body
    included.
    """

    endpoint: str
    credentials: KeyPair | Token | None = None
    proxy: Secret | None = None
    max_concurrency: int = 16
    max_rate: float | None = None
    request_timeout: float = 30.0
