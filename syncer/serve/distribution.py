"""procrastinate as a distributor: jobs that carry the name of an account to one worker.

The only importer of procrastinate. It is given a connector of ours, so that there is one way into
the database, for which any pooler will do. Nothing leans on it for truth: whose turn it is stands
in our own table, and that no two runs of an account overlap is the run lock's business. So a job
takes no lock and is never tried again, and one that is lost is deleted at a tick.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import procrastinate
import structlog
from procrastinate.connector import BaseAsyncConnector
from procrastinate.exceptions import ConnectorException, NoResult
from procrastinate.jobs import DeleteJobCondition, Job
from procrastinate.sql import queries
from procrastinate.worker import Worker

from syncer.core.errors import DatabaseError, DatabaseGone, SyncerError
from syncer.serve.timing import Timing
from syncer.store.connection import Connection
from syncer.store.queue import Queue

_TASK: Final = "syncer.run"
_NEVER: Final = 86_400.0
"""Seconds between two looks for jobs to be aborted, which nobody asks for."""
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_log = structlog.get_logger()
logging.getLogger("procrastinate").setLevel(logging.CRITICAL)  # what matters is logged here


class Distributor:
    """Takes accounts out of the queue, ``at_once`` at a time, and lets ``do`` crawl each.

    ``do`` raises nothing. A worker listens to the queues of its own accounts only.
    """

    def __init__(
        self,
        queue: Queue,
        do: Callable[[str], Awaitable[None]],
        *,
        accounts: Sequence[str],
        at_once: int,
        timing: Timing,
    ) -> None:
        self._app = procrastinate.App(connector=_Connector(queue, timing))
        self._queues = [_queue_of(account) for account in accounts]
        self._at_once = at_once
        self._timing = timing
        self._where = queue.where
        self._worker: Worker | None = None
        self._stopped = False

        async def run(account: str) -> None:
            await do(account)

        self._app.task(name=_TASK, retry=False)(run)

    async def work(self) -> None:
        """Take accounts until asked to stop, and wait for those that were taken.

        Raises DatabaseError where the queue is lost; what was taken has ended then, too.
        """
        if self._stopped:
            return
        self._worker = worker = Worker(
            self._app,
            queues=self._queues,
            name=None,
            concurrency=self._at_once,
            fetch_job_polling_interval=self._timing.poll,
            abort_job_polling_interval=_NEVER,
            listen_notify=False,  # a pooler hands sessions on
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=self._timing.tick,
            stalled_worker_timeout=self._timing.unseen,
        )
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        except ConnectorException as error:
            raise _cause(error) from error
        if not self._stopped:
            raise DatabaseGone(f"the queue at {self._where} is not available")

    def stop(self) -> None:
        """Take no more accounts."""
        self._stopped = True
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]

    async def hand_out(self, connection: Connection, accounts: Sequence[str]) -> None:
        """Put accounts into the queue, in the open transaction."""
        if accounts:
            jobs = [
                Job(
                    id=None,
                    queue=_queue_of(account),
                    lock=None,
                    queueing_lock=account,
                    task_name=_TASK,
                    task_kwargs={"account": account},
                )
                for account in accounts
            ]
            await self._app.job_manager.batch_defer_jobs_async(jobs, connection=connection)


def _queue_of(account: str) -> str:
    """Return the name of an account's queue: procrastinate takes none of more than 40 letters."""
    return hashlib.blake2b(account.encode(), digest_size=16).hexdigest()


def _cause(error: ConnectorException) -> DatabaseError:
    cause = error.__cause__
    return cause if isinstance(cause, DatabaseError) else DatabaseGone(str(error))


class _Connector(BaseAsyncConnector):
    """Does procrastinate's statements, each in a transaction of the queue."""

    def __init__(self, queue: Queue, timing: Timing) -> None:
        self._queue = queue
        self._retry = timing.queue

    def get_sync_connector(self) -> BaseAsyncConnector:
        return self

    async def execute_query_async(self, query: str, **arguments: object) -> None:
        if query == queries["finish_job"]:
            await self._finish(query, arguments)
        else:
            await self._rows(query, arguments)

    async def execute_query_one_async(self, query: str, **arguments: object) -> dict[str, Any]:
        rows = await self._rows(query, arguments)
        if not rows:
            raise NoResult
        return rows[0]

    async def execute_query_all_async(
        self, query: str, **arguments: object
    ) -> list[dict[str, Any]]:
        return await self._rows(query, arguments)

    async def execute_query_all_async_with_connection(
        self, connection: Connection, query: str, **arguments: object
    ) -> list[dict[str, Any]]:
        return await _fetched(connection, query, arguments)

    async def _rows(self, query: str, arguments: dict[str, object]) -> list[dict[str, Any]]:
        try:
            async with self._queue.transaction() as connection:
                return await _fetched(connection, query, arguments)
        except DatabaseError as error:
            raise ConnectorException(str(error)) from error

    async def _finish(self, query: str, arguments: dict[str, object]) -> None:
        """Finish a job. One that is gone was lost and deleted; one that stays will be."""

        def failed(error: SyncerError) -> None:
            _log.debug("job.not_finished", error_message=str(error))

        await self._queue.insist(
            lambda connection: _fetched(connection, query, arguments), self._retry, failed
        )


async def _fetched(
    connection: Connection, query: str, arguments: dict[str, object]
) -> list[dict[str, Any]]:
    """Do a statement that has its parameters by name."""
    names = list(dict.fromkeys(_PARAMETER.findall(query)))
    text = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", query)
    return [dict(row) for row in await connection.fetch(text, *(arguments[n] for n in names))]
