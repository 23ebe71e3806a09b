"""A lock table that is full, as anybody can make it who may connect: one line, then as before."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.from_thread
import asyncpg
import pytest

from syncer.embedded import EmbeddedPostgres
from syncer.simulator import Simulator, World
from syncer.store.connection import Server
from syncer.store.migrate import upgrade
from tests.daemon import ThreeRuns, drift_widely
from tests.e2e.test_other_roles import as_role, login
from tests.invariants import check
from tests.support import Migrated, assert_exact, connected

SMALL = {"max_locks_per_transaction": "10", "max_connections": "20"}


class Attacker:
    """A session of a role that may only connect, on a thread of its own."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, url: str) -> None:
        self._portal = portal
        self._connection = portal.call(asyncpg.connect, url)
        self.taken = 0

    def fill(self) -> None:
        """Take advisory locks until there is room for none."""
        self._portal.call(self._fill)

    async def _fill(self) -> None:
        with contextlib.suppress(asyncpg.OutOfMemoryError):
            while True:
                await self._connection.execute("select pg_advisory_lock($1)", self.taken)
                self.taken += 1

    async def release(self) -> None:
        """Give them all back."""
        self.execute("select pg_advisory_unlock_all()")

    def execute(self, statement: str) -> None:
        """Execute a statement."""
        self._portal.call(self._connection.execute, statement)

    def close(self) -> None:
        """End the session."""
        self._portal.call(self._connection.close)


@pytest.fixture(scope="module")
async def postgres(
    tmp_path_factory: pytest.TempPathFactory, pg_bin: str | None
) -> AsyncIterator[EmbeddedPostgres]:
    """A server with a small lock table."""
    home = tmp_path_factory.mktemp("small")
    async with EmbeddedPostgres(
        home, pg_bin=pg_bin, settings={**SMALL, "fsync": "off"}, die_with_parent=True
    ) as server:
        yield server


@pytest.fixture(scope="module")
async def migrated(postgres: EmbeddedPostgres) -> AsyncIterator[Migrated]:
    """Its database, to be copied."""
    async with connected(postgres.dsn("postgres")) as administrator:
        made = Migrated(postgres, administrator, "syncer")
        await upgrade(Server(made.url))
        yield made


@pytest.fixture
async def attacker(url: str, db: Any) -> AsyncIterator[Attacker]:
    with anyio.from_thread.start_blocking_portal() as portal:
        async with login(db, "nobody") as role:
            attacker = Attacker(portal, as_role(url, role))
            yield attacker
            attacker.close()


@pytest.mark.parametrize("call", [0, 1, 4])
async def test_a_lock_table_that_is_full_is_one_named_line(  # noqa: PLR0917  (fixtures)
    call: int,
    attacker: Attacker,
    environment: dict[str, str],
    simulator: Simulator,
    world: World,
    db: Any,
) -> None:
    """Before a run, as it begins, in the middle of it; the daemon lives, and the next is exact."""
    calls = 0

    def on_call(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            attacker.fill()

    async def spoil() -> None:
        drift_widely(world)
        simulator.on_call = on_call
        if not call:
            attacker.fill()

    serving = ThreeRuns(environment)
    await serving.work(spoil, attacker.release)
    assert attacker.taken > 100
    serving.assert_one_line(r"out of shared memory.*\(SQLSTATE 53200\)")
    await assert_exact(db, world)
    await check(db, {})


async def test_the_command_says_that_the_lock_table_is_full(
    attacker: Attacker, process: Any, db: Any, world: World
) -> None:
    """One line, exit 1, no traceback."""
    attacker.fill()
    done = await process("sync")
    assert (1, "") == (done.code, done.out)
    assert 1 == len(done.err.splitlines()), done.err
    assert "out of shared memory" in done.err
    assert "SQLSTATE 53200" in done.err
    await attacker.release()
    assert 0 == (await process("sync")).code
    await assert_exact(db, world)
