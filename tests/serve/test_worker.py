"""A worker and its metrics, when an account comes from another worker."""

from __future__ import annotations

from typing import Any

from prometheus_client import generate_latest

from syncer.config.settings import load
from syncer.core.errors import SyncerError
from syncer.serve.metrics import Together
from syncer.serve.systemd import Notifier
from syncer.serve.timing import Timing
from syncer.serve.work import work_of
from syncer.serve.worker import _Worker
from syncer.store.open import open_server
from syncer.store.queue import Queue


async def test_while_it_crawls_what_another_did_it_shows_nothing_of_its_own_last_run(
    environment: dict[str, str], db: Any
) -> None:
    """The run of another was later; what is stored of the zones is the same for both."""
    settings = load(environment=environment)
    (account,) = settings.accounts
    shown: list[bool] = []

    async def run(*_: object, **__: object) -> Any:
        text = generate_latest(Together([work.monitor.metrics], shown=worker.distribution.was_here))
        shown.append(b"syncer_last_run_exit_code{" in text)
        raise SyncerError("it failed")

    async with open_server(settings.database) as server, Queue(server) as queue:
        work = work_of(settings, account, server, run, Notifier(None))
        worker = _Worker(server, queue, {account.name: work}, at_once=1, timing=Timing())
        await worker._join(first=True)
        await worker._do(account.name)
        for other in (None, "other"):  # who took it in between
            await db.execute(
                "update syncer_store.account_schedule "
                "set due_at = now(), worker = coalesce($1, worker)",
                other,
            )
            await worker._tick()
            assert worker.distribution.was_here(account.name) is (other is None)
            await worker._do(account.name)
    assert [False, True, False] == shown
    assert worker.distribution.was_here(account.name)
