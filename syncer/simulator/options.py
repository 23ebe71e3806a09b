"""What a simulator is started with."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from syncer.simulator.actions import UnknownIds
from syncer.simulator.calls import CallRecord
from syncer.simulator.faults import InjectedFault

DEFAULT_ACCESS_KEYS: Final[Mapping[str, str]] = MappingProxyType({"simulator": "simulator-secret"})
"""The key pair that is accepted when none is given."""


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulator is started with. Raises ``ValueError`` for a host that is not loopback."""

    access_keys: Mapping[str, str] = DEFAULT_ACCESS_KEYS
    """Secrets by access key id."""
    tokens: Collection[str] = ()
    """Bearer tokens that are accepted."""
    host: str = "127.0.0.1"
    """The loopback address to listen on."""
    port: int = 0
    """The port to listen on; 0 for any that is free."""
    latency: float = 0.0
    """Seconds before each answer."""
    rate: float | None = None
    """Calls a second that each credential may make; None for no limit."""
    burst: float | None = None
    """Calls that may be made at once under ``rate``; None for the rate, but at least 1."""
    retry_after: bool = False
    """Whether a refusal by that limit carries Retry-After."""
    unknown_ids: UnknownIds = "omit"
    """Whether image ids that the zone does not have are left out or make the call a 404."""
    most_ids: int = 100
    """How many ids a call may name."""
    default_version: str | None = None
    """The version of a call without X-ZC-Version; None to refuse such a call."""
    faults: Collection[InjectedFault | str] = ()
    """What goes wrong from the beginning."""
    seed: int = 0
    """The seed of request ids and of everything that is left to chance."""
    skew: float = 0.0
    """Seconds by which the server's clock is ahead."""
    ticks: Callable[[], float] = time.monotonic
    """The monotonic clock of the rate limit, in seconds."""
    on_call: Callable[[CallRecord], Awaitable[None] | None] | None = None
    """Called before each answer is made; it may change the world, and return what to wait for."""
    keep_calls: int | None = None
    """How many calls are remembered at least; None for all."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "host", _loopback(self.host))


def _loopback(host: str) -> str:
    """Return the address to listen on; ``localhost`` may stand for two, so it is made one."""
    address = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    raise ValueError(f"the simulator listens on loopback addresses only, not on {host!r}")


DEFAULT_OPTIONS: Final = SimulatorOptions()
