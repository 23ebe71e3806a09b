"""What is done for one account by what serves for long: its runs, metrics and retention."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog

from syncer.config.accounts import Account
from syncer.config.settings import Settings
from syncer.core.errors import SyncerError
from syncer.serve.health import Health
from syncer.serve.metrics import metrics_of, stored_zones
from syncer.serve.outcome import Monitor
from syncer.serve.systemd import Notifier
from syncer.store import retention
from syncer.store.connection import Server
from syncer.sync.report import Report
from syncer.sync.stop import Stop

_log = structlog.get_logger()


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The work for an account. ``run`` does a run, and takes stop and observer by name."""

    account: Account
    embedded: bool
    """Whether the server is ours to look after."""
    server: Server
    run: Callable[..., Awaitable[Report]]
    monitor: Monitor

    async def once(self, stop: Stop) -> Report:
        """Do a run; a server of ours that is gone is started again first."""
        await self.server.revive()
        return await self.run(self.server, stop=stop, observer=self.monitor.metrics)

    async def update_metrics(self) -> None:
        """Take what is stored of the zones into the metrics."""
        self.monitor.metrics.set_zones(await stored_zones(self.server, self.account.name))

    async def prune(self, stopped: Callable[[], bool]) -> bool:
        """Delete history that is too old, if any is; return whether it was done."""
        if self.account.keep is None:
            return False
        try:
            await retention.prune(
                self.server,
                keep=self.account.require_keep(),
                account=self.account.name,
                vacuum=self.embedded,  # autovacuum has no time there
                stopped=stopped,
            )
        except SyncerError as error:
            _log.warning("history.not_pruned", error_message=str(error))
            return False
        return True


def work_of(
    settings: Settings,
    account: Account,
    server: Server,
    run: Callable[..., Awaitable[Report]],
    notifier: Notifier,
) -> Work:
    """Return the work for an account; ``run`` takes it and a server."""
    limit = account.run_timeout + 3 * server.timing.grace(account.run_timeout)
    monitor = Monitor(
        health=Health(every=account.every, limit=limit),
        metrics=metrics_of(account, live=True),
        systemd=notifier,
        account=settings.whose(account),
    )
    return Work(
        account=account,
        embedded=settings.database.embedded,
        server=server,
        run=partial(run, account),
        monitor=monitor,
    )
