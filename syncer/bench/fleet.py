"""Workers side by side: ``python -m syncer.bench.fleet N`` lets N crawl every account once.

They are ``syncer worker`` as users start it, one account at a time each. The accounts are made due
first; when the last has been crawled, the workers are asked to end.
"""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack

import anyio
import asyncpg
from anyio.abc import Process

from syncer.config.settings import load

_WORKER = ("-m", "syncer", "worker", "--at-once", "1", "--http", "off")
_POLL = 0.02


async def main(workers: int) -> None:
    """Crawl every account of the settings once by a number of workers."""
    settings = load()
    assert settings.database.url is not None  # noqa: S101  (the bench gives it)
    connection = await asyncpg.connect(settings.database.url.reveal())
    # As if no worker had been there before: one that handed out just now would be waited for.
    await connection.execute("delete from syncer_store.account_schedule")
    await connection.execute("delete from syncer_store.ticks")
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(await anyio.open_process([sys.executable, *_WORKER]))
            for _ in range(workers)
        ]
        for process in processes:
            stack.callback(_end, process)
        done = 0
        while done < len(settings.accounts):
            if any(process.returncode is not None for process in processes):
                sys.exit("a worker ended too soon")
            await anyio.sleep(_POLL)
            done = await connection.fetchval(
                "select count(*) from syncer_store.account_schedule where ended > 0"
            )
        for process in processes:
            process.send_signal(signal.SIGTERM)
        if any([await process.wait() for process in processes]):
            sys.exit("a worker failed")
    await connection.close()


def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]))
