"""The daemon for three runs; the second meets an error."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from syncer.app import run_options
from syncer.config.settings import load
from syncer.core.backoff import Backoff
from syncer.serve.daemon import Daemon
from syncer.serve.health import Health
from syncer.serve.metrics import Metrics
from syncer.serve.outcome import Monitor
from syncer.serve.schedule import Schedule
from syncer.serve.systemd import Notifier
from syncer.simulator import World
from syncer.store.connection import Server, Timing
from syncer.sync.report import Report
from syncer.sync.run import run_once
from syncer.sync.stop import Stop
from tests.conftest import quick
from tests.support import logged

QUICKLY = Timing(retry=Backoff(first=0.001, last=0.01))
"""What fails every time fails seven times within a blink."""


class ThreeRuns:
    """The daemon for three runs: one that succeeds, one that meets an error, one afterwards.

    ``results`` is what it says of each, ``said`` what is logged from the first one's end to the
    second one's.
    """

    def __init__(self, environment: dict[str, str], timing: Timing = QUICKLY) -> None:
        self._settings = load(environment=environment)
        self._server = Server(environment["SYNCER_DATABASE_URL"], timing=timing)
        self._log = logged("json")
        self.results: list[str] = []
        self.said = ""
        metrics = Metrics("default", live=True)
        self._monitor = Monitor(
            health=Health(every=900, limit=900), metrics=metrics, systemd=Notifier(None)
        )

    async def work(
        self, spoil: Callable[[], Awaitable[object]], repair: Callable[[], Awaitable[object]]
    ) -> None:
        """Do the three; ``spoil`` before the second, ``repair`` before the third."""

        async def once(stop: Stop) -> Report:
            return await run_once(
                quick(run_options(self._settings.account)), self._server, stop=stop
            )

        async def between(_: object) -> None:
            self.results.append(self._monitor.health.last_result)
            if len(self.results) == 1:
                await spoil()
                self._text = self._log.__enter__()
            elif len(self.results) == 2:
                self._log.__exit__(None, None, None)
                self.said = self._text.getvalue()
                await repair()
            else:
                daemon.end("three are enough")

        async def sleep(_: float) -> None:
            return

        schedule = Schedule(every=900, jitter=0, start=0)
        daemon = Daemon(once, between, schedule=schedule, monitor=self._monitor, sleep=sleep)
        await daemon.work()

    def assert_one_line(self, why: str, *, of_a_zone: bool = False) -> None:
        """Only the run between failed, with one line that says why; the daemon lived.

        ``of_a_zone``: the run may also have ended by itself, with a line for each zone that failed.
        """
        first, second, third = self.results
        assert "succeeded" in first
        begun = re.match(r"run \d+ failed: .*? changes; ", second) if of_a_zone else None
        said = second[begun.end() :] if begun else second
        assert re.search(why, said), second
        assert "\n" not in second
        event = '"zone.failed"' if begun else '"run.failed"'
        failed = [line for line in self.said.splitlines() if event in line]
        assert len(failed) <= 2 if begun else 1 == len(failed), self.said
        assert "Traceback" not in self.said
        assert "succeeded" in third, third


def drift_widely(world: World) -> None:
    """Let the next run need rows, and room for them, in every zone."""
    for zone in world.zones():
        for number in range(60):
            world.add_image(zone, imageDescription=f"{number} " * 100)
    world.remove_image("SEL-A", min(world.images("SEL-A")))
