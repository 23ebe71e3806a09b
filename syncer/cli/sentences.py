"""What is said on a terminal while a command works: events of the log as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncer import log
from syncer.core.hints import number
from syncer.core.moment import age

Event = Mapping[str, Any]


def _nothing(_: Event) -> None:
    return None


def _again(event: Event) -> str:
    again = "Ctrl-C" if event["signal"] == "SIGINT" else event["signal"]
    return f"what was read is stored. {again} again gives up at once."


ON_STOPPING: Final[Mapping[str, log.Sentence]] = {
    "run.stopping": lambda event: f"Stopping: {_again(event)}"
}


class OfRun:
    """What runs say while they go on.

    ``summed_up``: a summary follows, which names zones that failed by their causes, and what is
    withheld.
    """

    def __init__(self, *, summed_up: bool = False) -> None:
        self.several = False
        """Whether there are several accounts, so that each sentence names its own."""
        self._summed_up = summed_up

    def sentences(self) -> dict[str, log.Sentence]:
        """Return what is said of each event."""
        summed_up = ("zone.failed", "zones.failed", "removals.withheld")
        return {
            **ON_STOPPING,
            "zones.not_listed": self._of(
                lambda e: f"The zones of {e['service']} were not listed: {e['error_message']}"
            ),
            "approval.applied": self._of(lambda e: f"{_approval(e)} applies: {_missing(e)}."),
            "approval.exceeded": self._of(
                lambda e: f"{_approval(e)} does not apply: {_missing(e)}."
            ),
            "approval.not_needed": self._of(
                lambda e: f"{_approval(e)} was not needed: no image is missing there any more."
            ),
            "database.lost": self._of(
                lambda e: f"{_upper(e['error_message'])}; tried again in {e['wait']:.1f} s."
            ),
            "database.regained": self._of(lambda _: "The database is there again."),
            "run.crashed": self._of(
                lambda e: f"Run {e['run_id']} had crashed; what it stored before that counts."
            ),
            **dict.fromkeys(summed_up if self._summed_up else (), _nothing),
        }

    def _of(self, sentence: Callable[[Event], str]) -> log.Sentence:
        return lambda event: self._whose(event) + sentence(event)

    def _whose(self, event: Event) -> str:
        return f"{event['account']}: " if self.several else ""


class OfDaemon(OfRun):
    """What a daemon or a worker says: where it listens, what came of runs, when the next is."""

    def sentences(self) -> dict[str, log.Sentence]:
        """Return what is said of each event."""
        return super().sentences() | {
            "http.listening": lambda e: f"Listening on {e['address']}: /livez, /readyz, /metrics.",
            "worker.ready": lambda e: (
                f"Ready: the worker {e['worker']} takes {', '.join(e['names'])} in turn."
            ),
            "zone.failed": self._zone_failed,
            "zones.failed": _nothing,
            "run.finished": self._run_finished,
            "run.scheduled": self._scheduled,
            "daemon.ending": lambda e: f"Ending: {_again(e)}",
            "worker.ending": _worker_ending,
            "daemon.ended": lambda _: "Ended.",
            "worker.ended": lambda _: "Ended.",
        }

    def _zone_failed(self, event: Event) -> str:
        zone = f"{event['service']}/{event['zone']}"
        return f"{self._whose(event)}Zone {zone} {event['status']}: {event.get('error_message')}"

    def _run_finished(self, event: Event) -> str:
        signs = (("appeared", "+"), ("changed", "~"), ("removed", "-"), ("returned", "returned "))
        changes = " ".join(f"{sign}{event[name]:,}" for name, sign in signs if event[name])
        failed = event["zones_failed"] + event["zones_incomplete"]
        parts = [
            number(event["zones"], "zone") + (f" ({failed:,} not read whole)" if failed else ""),
            number(event["images"], "image"),
            changes or "no change",
        ]
        if event["withheld"]:
            parts.append(f"{number(event['withheld'], 'removal')} withheld")
        text = f"Run {event['run_id']} {event['status']}: {', '.join(parts)}, in "
        text += f"{event['seconds']:.1f} s."
        if event.get("error_message") and not failed:
            text += f" {event['error_message']}"
        return self._whose(event) + text

    def _scheduled(self, event: Event) -> str:
        due = datetime.now(UTC) + timedelta(seconds=event["seconds"])
        return f"{self._whose(event)}Next run in {age(event['seconds'])}, at {due:%H:%M:%S}Z."


def _approval(event: Event) -> str:
    zone = f"{event['service']}/{event['zone']}"
    by = f" by {event['approved_by']}" if event["approved_by"] else ""
    return f"The approval{by} of {number(event['max_removals'], 'removal')} in {zone}"


def _missing(event: Event) -> str:
    missing = event["removals"]
    return f"{number(missing, 'image')} {'is' if missing == 1 else 'are'} missing"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _worker_ending(event: Event) -> str:
    runs = event["under_way"]
    if not runs:
        return "Ending."
    again = "Ctrl-C" if event["signal"] == "SIGINT" else event["signal"]
    what = "A run goes" if runs == 1 else f"{runs} runs go"
    return f"Ending: no more accounts are taken. {what} on to the end; {again} again stops that."
