"""How long serving waits: one value for the room, passed in."""

from __future__ import annotations

import msgspec

from syncer.core.backoff import Backoff


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long the daemon, metrics and traces wait, in seconds."""

    first_retry: float = 15.0
    """From a first failure to the next run; twice as long after each further one."""
    longest_rest: float = 3600.0
    """Between runs that are refused, at most (or the usual interval, where that is longer)."""
    jitter: float = 60.0
    """By which runs begin later, at most, unless asked otherwise (a tenth of a short interval)."""
    prune: float = 86_400.0
    """From one prune to the next."""
    zones: float = 5.0
    """For what is stored of the zones, where a run ends by writing its metrics to a file."""
    request: float = 10.0
    """For a whole request to arrive over HTTP."""
    answer: float = 30.0
    """For an answer to be read, and for the next request of the same connection."""
    readiness: float = 1.0
    """As long holds what was found of the database, for all who ask."""
    last_spans: float = 2.0
    """For a collector to take the last spans, at the end of the program."""
    tick: float = 10.0
    """Between two moments at which a worker says that it is there, and one of all hands out what is
    due."""
    poll: float = 2.0
    """Between two looks of an idle worker into the queue."""
    unseen: float = 60.0
    """After which a worker that was not seen has lost what it took, unless its run goes on."""
    queue: Backoff = Backoff(first=1.0, last=30.0)
    """Between tries of what the database of the queue does not take."""
