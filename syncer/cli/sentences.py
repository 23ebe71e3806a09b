"""What is said on a terminal while a command works: events of the log as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncer import log
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
OF_A_RUN: Final[Mapping[str, log.Sentence]] = {
    **ON_STOPPING,
    "zone.failed": _nothing,
    "zones.failed": _nothing,
    "removals.withheld": _nothing,
}
"""The summary of a run names zones that failed by their causes, and what is withheld."""


class OfDaemon:
    """What a daemon or a worker says: where it listens, what came of runs, when the next is."""

    def __init__(self) -> None:
        self.several = False
        """Whether there are several accounts, so that each sentence names its own."""

    def sentences(self) -> dict[str, log.Sentence]:
        """Return what is said of each event."""
        return {
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
            f"{event['zones']:,} zones" + (f" ({failed:,} not read whole)" if failed else ""),
            f"{event['images']:,} images",
            changes or "no change",
        ]
        if event["withheld"]:
            parts.append(f"{event['withheld']:,} removals withheld")
        text = f"Run {event['run_id']} {event['status']}: {', '.join(parts)}, in "
        text += f"{event['seconds']:.1f} s."
        if event.get("error_message") and not failed:
            text += f" {event['error_message']}"
        return self._whose(event) + text

    def _scheduled(self, event: Event) -> str:
        due = datetime.now(UTC) + timedelta(seconds=event["seconds"])
        return f"{self._whose(event)}Next run in {age(event['seconds'])}, at {due:%H:%M:%S}Z."

    def _whose(self, event: Event) -> str:
        return f"{event['account']}: " if self.several else ""


def _worker_ending(event: Event) -> str:
    runs = event["under_way"]
    if not runs:
        return "Ending."
    again = "Ctrl-C" if event["signal"] == "SIGINT" else event["signal"]
    what = "A run goes" if runs == 1 else f"{runs} runs go"
    return f"Ending: no more accounts are taken. {what} on to the end; {again} again stops that."
