"""The errors of the program, grouped by what a caller can do about them.

A ``SyncError`` fails the zone it happened in. ``Denied`` and ``DatabaseGone`` end the run.
``ConfigError`` means that nothing was started. The message says what to do next. ``exit_code`` is
that of a command which the error ends (DESIGN §5).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar


class SyncError(Exception):
    """Something named went wrong while crawling; it fails its own zone and no other.

    ``code`` is the API's error code or our own in the same spelling, ``request_id`` the API's
    id of the reply, where there was one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, code: str = "SYNC_ERROR", request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id


class Retryable(SyncError):
    """The same call may succeed if it is made again.

    ``after`` is the server's Retry-After in seconds, if it sent one.
    """

    def __init__(
        self, message: str, *, code: str, request_id: str | None = None, after: float | None = None
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.after = after


class Throttled(Retryable):
    """The API asked for fewer calls."""


class Unreachable(Retryable):
    """No usable answer: the network failed, time ran out, or the server said 5xx."""


class TornRead(Retryable):
    """The body was cut off or is not JSON."""


class BadPayload(SyncError):
    """The reply is JSON, but not of the documented shape."""


class Refused(SyncError):
    """The API refused this request; asking again would not help."""


class ZoneNotFound(Refused):
    """The API does not know this zone any more."""


class ImageNotFound(Refused):
    """The API does not know an image that was asked for by id."""


class Denied(SyncError):
    """The API refused *us* (credentials, policy block, challenge): the run stops at once."""


class Challenged(Denied):
    """The API's protection layer asks for a browser challenge: pause, then stop."""


class SignatureExpired(Denied):
    """Our clock and the server's differ by more than five minutes."""


class DatabaseGone(Exception):
    """PostgreSQL cannot be reached or went away; nothing was half-written."""

    exit_code: ClassVar[int] = 1


class TransactionFailed(DatabaseGone):
    """PostgreSQL is there but ended a transaction: a deadlock, a timeout, no room, read-only."""


class ConfigError(Exception):
    """Usage or configuration is wrong; ``faults`` holds one line for each thing to mend."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class ServerTooOld(ConfigError):
    """PostgreSQL is older than the oldest that will do."""


class LockHeld(Exception):
    """Another run of the same account is at work; the message names it."""

    exit_code: ClassVar[int] = 5


class Interrupted(Exception):
    """The user would not wait for the run to end."""

    exit_code: ClassVar[int] = 3


class Superseded(Exception):
    """A newer run of the same account began; this one may not write any more."""

    exit_code: ClassVar[int] = 5


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the one named error that ended a task group, instead of the group.

    What everyone must hear first goes first: a dead database before a refusal. A group that
    holds anything unnamed is a bug and stays as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        order = (DatabaseGone, Superseded, LockHeld, ConfigError, Interrupted, SyncError)
        if all(isinstance(leaf, order) for leaf in leaves):
            for kind in order:
                for leaf in leaves:
                    if isinstance(leaf, kind):
                        raise leaf from leaf.__cause__
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
