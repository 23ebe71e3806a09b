"""``syncer worker`` as a process, with short waits: for tests of several side by side."""

from __future__ import annotations

import anyio
import structlog

from syncer import app, log
from syncer.config.settings import load
from syncer.core.backoff import Backoff
from syncer.serve import worker
from syncer.serve.timing import Timing

QUICK = Timing(tick=0.3, poll=0.1, unseen=2.0, first_retry=0.5, queue=Backoff(first=0.1, last=0.5))


async def _work() -> None:
    settings = load()
    settings.require_credentials()
    log.configure("json", settings.log_level)
    await worker.work(settings, app._run_of, timing=QUICK)
    structlog.get_logger().info("worker.ended")


if __name__ == "__main__":
    anyio.run(_work)
