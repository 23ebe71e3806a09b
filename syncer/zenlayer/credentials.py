"""Who calls the API, where it is, how much it may be asked, and how long is waited for it."""

from __future__ import annotations

from typing import Final

import msgspec

from syncer.core.backoff import Backoff
from syncer.secrets import Secret

MAX_CONCURRENCY: Final = 32
"""Calls under way for an account, unless it is set. Terraform's provider makes 50 at once."""


class Token(msgspec.Struct, frozen=True):
    """A bearer token."""

    token: Secret


class KeyPair(msgspec.Struct, frozen=True):
    """An access key pair."""

    key_id: str
    secret: Secret


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited for the API, in seconds, and how often a call is made again."""

    connect: float = 10.0
    """For a connection, where a whole call may take longer."""
    keep_alive: float = 60.0
    """For the next call, before a connection is closed."""
    challenge: float = 10.0
    """All calls pause for as long when the protection layer asks for a browser, once a run."""
    proxy_login: float = 900.0
    """A proxy that refused a login is not asked again for as long: repetition locks accounts."""
    retry: Backoff = Backoff()
    """Between the attempts of one call."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How the API is called for one account."""

    endpoint: str
    """Its URL, without a path."""
    credentials: KeyPair | Token | None = None
    """Without them nothing is signed."""
    proxy: Secret | None = None
    """A URL."""
    max_concurrency: int = MAX_CONCURRENCY
    """Calls under way."""
    max_rate: float | None = None
    """Calls a second (None: the API's own limit is found)."""
    request_timeout: float = 30.0
    """Seconds for one call, its body included."""
    timing: Timing = Timing()
