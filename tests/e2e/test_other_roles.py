"""What roles can do to each other: nothing without a right, and what hangs is named."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import asyncpg
import pytest

from syncer.core.errors import LockHeld, TransactionFailed
from syncer.simulator import World
from syncer.store.connection import Server, Timing, sql
from syncer.store.retention import prune
from syncer.store.runs import begin
from tests.support import assert_exact, rows

QUICK = Timing(lock=0.3, poll=0.02)


@contextlib.asynccontextmanager
async def login(db: Any, name: str, grants: str = "") -> AsyncIterator[str]:
    """A role that may log in, for the time of a test."""
    role = f"{name}_{os.getpid()}"
    await db.execute(f"create role {role} login")
    if grants:
        await db.execute(f"grant {grants} to {role}")
    try:
        yield role
    finally:
        await db.execute(f"drop role {role}")


def as_role(url: str, role: str) -> str:
    return url.replace("//syncer@", f"//{role}@")


async def attack(connection: asyncpg.Connection[Any]) -> int:
    """Take, in every mode, each advisory lock that can be seen, and a run's name."""
    taken = 0
    await connection.execute("set application_name = 'syncer sync run 2 of default'")
    seen = await connection.fetch("""
        select distinct (classid::bigint << 32) | objid::bigint as key from pg_locks
        where locktype = 'advisory' and objsubid = 1""")
    for (key,) in seen:
        for statement in ("pg_try_advisory_lock_shared", "pg_try_advisory_lock"):
            taken += await connection.fetchval(f"select {statement}($1)", key)
    return taken


@pytest.mark.parametrize("reader", [False, True])
async def test_a_role_without_a_right_ends_no_run_and_makes_none_wait(
    reader: bool, url: str, db: Any, sync: Any, world: World
) -> None:
    """Names, and every advisory key there is or was: runs and a crashed one go on as ever."""
    await db.execute(sql("schema/roles"))
    async with login(db, "nobody", "syncer_reader" if reader else "") as role:
        attackers = [await asyncpg.connect(as_role(url, role)) for _ in range(3)]
        taken = 0

        async def go_on(attacker: asyncpg.Connection[Any]) -> None:
            nonlocal taken
            while True:
                taken += await attack(attacker)

        async with anyio.create_task_group() as tasks:
            for attacker in attackers:
                tasks.start_soon(go_on, attacker)
            for number in itertools.count():
                world.drift(number, appear=2, change=2, remove=number < 5)
                assert 0 == (await sync(wait=QUICK)).exit_code
                if number >= 4 and taken:  # a quick run may end before they come to its key
                    break
            async with begin(Server(url), "default", run_timeout=900.0, selection={}):
                pass  # its process goes without ending it
            assert 0 == (await sync(wait=QUICK)).exit_code
            tasks.cancel_scope.cancel()
        for attacker in attackers:
            attacker.terminate()
        await assert_exact(db, world)


@contextlib.asynccontextmanager
async def under_the_id_of(
    db: Any, url: str, role: str, table: str
) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A session that has the key in a row of ``table``, and was given the process id in it anew."""
    session = await asyncpg.connect(as_role(url, role))
    try:
        key = await db.fetchval(f"select lock_key from syncer_store.{table}")
        assert await session.fetchval("select pg_try_advisory_lock($1)", key)
        pid = await session.fetchval("select pg_backend_pid()")
        await db.execute(f"update syncer_store.{table} set pid = $1", pid)
        yield session
    finally:
        session.terminate()


async def test_whoever_may_not_write_is_no_run(
    url: str, db: Any, sync: Any, syncer: Any, world: World
) -> None:
    """A process id is given anew, a key can be seen: with both, no run is kept from beginning."""
    await db.execute(sql("schema/roles"))
    async with begin(Server(url), "default", run_timeout=900.0, selection={}):
        pass  # its process goes without ending it
    async with (
        login(db, "nobody", "syncer_reader") as role,
        under_the_id_of(db, url, role, "accounts"),
    ):
        (line,) = [line for line in rows(await syncer("doctor")) if line["check"] == "lock"]
        assert line["message"].startswith("free, but run 1"), line
        assert 0 == (await sync(wait=QUICK)).exit_code
    await assert_exact(db, world)


async def test_whoever_may_not_write_does_not_prune(url: str, db: Any, sync: Any) -> None:
    """The same of a prune that was killed."""
    await db.execute(sql("schema/roles"))
    await sync()
    keep = timedelta(days=400)
    await prune(Server(url), keep=keep)
    async with login(db, "nobody") as role, under_the_id_of(db, url, role, "prunes"):
        await prune(Server(url), keep=keep)
    async with (
        login(db, "other", "syncer_writer") as role,
        under_the_id_of(db, url, role, "prunes"),
    ):
        with pytest.raises(LockHeld):
            await prune(Server(url), keep=keep)


async def test_who_may_write_only_as_another_role_runs_all_the_same(
    url: str, db: Any, sync: Any
) -> None:
    """A login that inherits nothing and changes to syncer_writer: its run is at work."""
    await db.execute(sql("schema/roles"))
    async with login(db, "one", "syncer_writer") as role:
        await db.execute(f"alter role {role} noinherit; alter role {role} set role syncer_writer")
        one = Server(as_role(url, role))
        async with begin(one, "default", run_timeout=900.0, selection={}):
            with pytest.raises(LockHeld):
                await sync()


@pytest.fixture
async def writers(url: str, db: Any) -> AsyncIterator[tuple[str, str]]:
    """The URLs of two logins of syncer_writer."""
    await db.execute(sql("schema/roles"))
    async with (
        login(db, "one", "syncer_writer") as one,
        login(db, "two", "syncer_writer") as two,
    ):
        yield as_role(url, one), as_role(url, two)


async def test_a_healthy_run_of_one_login_is_exit_5_for_another(
    writers: tuple[str, str], sync: Any
) -> None:
    """Whoever's login it is; and it says until when."""
    one, two = writers
    async with begin(Server(one), "default", run_timeout=900.0, selection={}) as (run, _):
        with pytest.raises(LockHeld, match=rf"run {run.run_id} of account .* until \d\d:\d\d"):
            await sync(SYNCER_DATABASE_URL=two)
    assert 0 == (await sync(SYNCER_DATABASE_URL=two)).exit_code


OVERDUE = "update syncer_store.runs set deadline_at = now() - interval '1 s'"


async def test_a_hung_run_of_another_login_is_taken_over(
    writers: tuple[str, str], sync: Any, db: Any, world: World
) -> None:
    """Its process cannot be ended, and need not be: it can write nothing more."""
    one, two = writers
    async with begin(Server(one), "default", run_timeout=900.0, selection={}):
        await db.execute(OVERDUE)
        assert 0 == (await sync(SYNCER_DATABASE_URL=two, wait=QUICK)).exit_code
    await assert_exact(db, world)


async def test_a_transaction_of_another_login_that_hangs_is_named(
    writers: tuple[str, str], sync: Any, db: Any, world: World
) -> None:
    """One line, exit 1, with the process, its role and the statement that ends it: it works."""
    one, two = writers
    async with (
        begin(Server(one), "default", run_timeout=900.0, selection={}) as (run, _),
        Server(one).pool(size=1, name="hung") as pool,
    ):
        with contextlib.suppress(Exception):
            async with run.transaction(pool):
                await db.execute(OVERDUE)
                with pytest.raises(TransactionFailed) as refused:
                    await sync(SYNCER_DATABASE_URL=two, wait=QUICK)
                assert "of role one_" in str(refused.value)
                statement = str(refused.value).rpartition(": ")[2]
                assert statement.startswith("select pg_terminate_backend(")
                await db.execute(statement)
    assert 0 == (await sync(SYNCER_DATABASE_URL=two, wait=QUICK)).exit_code
    await assert_exact(db, world)


async def test_who_writes_changes_no_revision_and_no_approval(
    url: str, db: Any, syncer: Any, sync: Any, world: World
) -> None:
    """What was approved, and by whom, stays; what came of it is written by the run."""
    assert 0 == (await syncer("db", "roles")).code
    async with login(db, "writer", "syncer_writer") as writer:
        env = {"SYNCER_DATABASE_URL": as_role(url, writer)}
        assert 0 == (await sync(**env)).exit_code
        for image_id in sorted(world.images("FRA-A")):
            world.remove_image("FRA-A", image_id)
        assert 4 == (await sync(**env)).exit_code
        assert 0 == (await syncer("approve", "FRA-A", "--max", "999", **env)).code
        theirs = await asyncpg.connect(as_role(url, writer))
        for statement in (
            "update syncer_store.alembic_version set version_num = '0001'",
            "delete from syncer_store.alembic_version",
            "insert into syncer_store.alembic_version values ('0001')",
            "update syncer_store.approvals set approved_by = 'somebody else'",
            "update syncer_store.approvals set max_removals = 9999",
            "delete from syncer_store.approvals",
            "truncate syncer_store.approvals",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await theirs.execute(statement)
        # db repair-clock
        await theirs.execute("update syncer_store.approvals set approved_at = approved_at")
        assert 0 == (await sync(**env)).exit_code
        assert "applied" == await theirs.fetchval("select outcome from syncer.approvals")
        await theirs.close()
        await assert_exact(db, world)


async def test_what_db_roles_takes_from_whoever_may_only_connect(
    url: str, db: Any, syncer: Any, world: World
) -> None:
    """Temporary tables at once, other locks by what it prints for a superuser; all goes on."""
    done = await syncer("db", "roles")
    assert 0 == done.code
    for_superuser = done.out[done.out.index("-- For a superuser") :]
    commented = [f"-- {line}" for line in for_superuser.splitlines()]
    assert commented == (await syncer("db", "roles", "--sql")).out.splitlines()[-len(commented) :]
    async with login(db, "nobody") as nobody, login(db, "writer", "syncer_writer") as writer:
        stranger = await asyncpg.connect(as_role(url, nobody))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.execute("create temporary table t (a int)")
        locks = (
            "select pg_advisory_lock_shared(1)",
            "begin; lock table pg_settings in access exclusive mode; rollback",
        )
        for lock in locks:
            await stranger.execute(lock)
        try:
            await db.execute(for_superuser)
            for lock in locks:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await stranger.execute(lock)
            await stranger.execute("rollback")
            await stranger.close()
            env = {"SYNCER_DATABASE_URL": as_role(url, writer)}
            for command in (["sync"], ["prune", "--keep", "1d"], ["images"]):
                assert 0 == (await syncer(*command, **env)).code
            assert 0 == (await syncer("db", "upgrade")).code
            await assert_exact(db, world)
        finally:
            await db.execute("drop owned by syncer_writer")
