"""The errors of the program, by what a caller can do about them. The message says what to do next.

::

    SyncerError                exit code 1 where nothing else is said
    ├── ApiError               a call of the API failed: fails its own zone and no other
    │   ├── Retryable          the same call may succeed if it is made again
    │   │   ├── Throttled
    │   │   ├── Unreachable
    │   │   └── TornRead
    │   ├── BadPayload
    │   ├── Refused
    │   │   ├── ZoneNotFound
    │   │   └── ImageNotFound
    │   └── Denied             the API refuses us: ends the run
    │       ├── Challenged
    │       ├── NetworkDenied
    │       └── SignatureExpired
    ├── DatabaseError          ends the run
    │   ├── DatabaseGone
    │   ├── TransactionFailed
    │   │   └── ServerUnable
    │   └── StatementRefused
    ├── ConfigError            2: nothing was started
    │   ├── NoZone
    │   └── ServerTooOld
    ├── NothingApproved        1
    ├── ClocksDisagree         1
    ├── BackupFailed           1
    ├── OutputFailed           1: results could not be printed
    │   └── OutputClosed       0: who read them wants no more
    ├── LockHeld               5
    ├── Superseded             5
    └── Interrupted            3
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar, Final

TIMED_OUT: Final = "TIMED_OUT"
"""The code of a call that got no answer in its time: the dearest of all failures."""


class SyncerError(Exception):
    """Every error that has a name. ``exit_code`` is that of a command which it ends."""

    exit_code: ClassVar[int] = 1

    @property
    def lines(self) -> tuple[str, ...]:
        """What the user is shown, one line each."""
        return (str(self),)


class ApiError(SyncerError):
    """A call of the API failed; it fails its own zone and no other.

    ``code`` is the API's error code or our own in the same spelling, ``request_id`` the API's
    id of the reply, where there was one.
    """

    def __init__(self, message: str, *, code: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id


class Retryable(ApiError):
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


class BadPayload(ApiError):
    """The reply is JSON, but not of the documented shape."""


class Refused(ApiError):
    """The API refused this request; asking again would not help."""


class ZoneNotFound(Refused):
    """The API does not know this zone any more."""


class ImageNotFound(Refused):
    """The API does not know an image that was asked for by id."""


class Denied(ApiError):
    """The API refused *us* (credentials, policy block, challenge): the run stops at once."""


class Challenged(Denied):
    """The API's protection layer asks for a browser challenge: pause, then stop."""


class NetworkDenied(Denied):
    """The network between refuses us: a proxy its login or our destination, a portal its leave."""


class SignatureExpired(Denied):
    """Our clock and the server's differ by more than five minutes.

    ``server_time`` is the server's, in seconds since 1970 (None: unknown).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        request_id: str | None = None,
        server_time: float | None = None,
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.server_time = server_time


class DatabaseError(SyncerError):
    """PostgreSQL did not do what was asked; nothing was half-written."""


class DatabaseGone(DatabaseError):
    """PostgreSQL cannot be reached or went away."""


class TransactionFailed(DatabaseError):
    """PostgreSQL is there but ended a transaction: a deadlock, a timeout."""


class ServerUnable(TransactionFailed):
    """PostgreSQL can do no transaction that writes now: no room, read-only, an I/O error."""


class StatementRefused(DatabaseError):
    """PostgreSQL refused a statement for a reason that nobody foresaw: again would not help."""


class ConfigError(SyncerError):
    """Usage or configuration is wrong; ``faults`` holds one line for each thing to fix."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults

    @property
    def lines(self) -> tuple[str, ...]:
        """What to fix, one line each."""
        return self.faults


class NoZone(ConfigError):
    """A glob of the command line matches no zone."""


class ServerTooOld(ConfigError):
    """PostgreSQL is older than the oldest that will do."""


class NothingApproved(SyncerError):
    """What was to be approved is not there, or is more than was allowed."""


class ClocksDisagree(SyncerError):
    """The present time is not known well enough to say which stamps are wrong."""


class BackupFailed(SyncerError):
    """pg_dump did not write the whole backup; the message has its words."""


class OutputFailed(SyncerError):
    """What was asked for cannot be written to stdout."""


class OutputClosed(OutputFailed):
    """Whoever read the output wants no more of it."""

    exit_code: ClassVar[int] = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Nothing: nobody wants to know."""
        return ()


class LockHeld(SyncerError):
    """Another run of the same account is at work; the message names it."""

    exit_code: ClassVar[int] = 5


class Interrupted(SyncerError):
    """The user would not wait for the run to end."""

    exit_code: ClassVar[int] = 3


class Superseded(SyncerError):
    """A newer run of the same account began; this one may not write any more."""

    exit_code: ClassVar[int] = 5


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the one named error that ended a task group, instead of the group.

    The most severe goes first: a dead database before a refusal. A group that holds anything
    unnamed is a bug and stays as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(leaves_of(group))
        order = (DatabaseError, Superseded, LockHeld, ConfigError, Interrupted, SyncerError)
        if all(isinstance(leaf, SyncerError) for leaf in leaves):
            worst = min(leaves, key=lambda leaf: [isinstance(leaf, k) for k in order].index(True))
            raise worst from worst.__cause__
        raise


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group of errors, or the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves_of(each)
    else:
        yield error
