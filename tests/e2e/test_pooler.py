"""Through PgBouncer: kept sessions do for everything, those that are handed on for reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.simulator import World
from syncer.store.connection import SHARED, STATEMENTS, Server, Timing, reading_transaction
from tests.pooler import pooler
from tests.support import assert_exact, rows

ROOT = Path(__file__).parents[2]


async def test_session_mode_with_its_default_configuration(
    empty_url: str, syncer: Any, world: World
) -> None:
    """Nothing is asked for as a startup parameter: every command works."""
    async with pooler(empty_url) as url:
        env = {"SYNCER_DATABASE_URL": url}
        for command in (
            "db upgrade", "db roles", "db status", "sync", "sync --dry-run", "images", "zones",
            "changes --initial", "spread", "runs", "baseline save b", "baseline list", "check b",
            "asof 0s", "prune --keep 1d", "approve FRA-A --max 3",
        ):  # fmt: skip
            done = await syncer(*command.split(), **env)
            assert (0, command) == (done.code, command), done.err
        assert world.count() == len(rows(await syncer("images", **env)))
        async with Server(url).reading() as connection:
            await assert_exact(connection, world)
        done = await syncer("doctor", "-o", "ndjson", **env)
    failed = [row for row in rows(done) if row["status"] == "failed"]
    assert [] == failed, done.out
    assert ["ok"] == [row["status"] for row in rows(done) if row["check"] == "session"]


HANDED_ON: dict[str, Any] = {
    "transaction": {"pool_mode": "transaction"},
    "one session": {"pool_mode": "transaction", "default_pool_size": "1"},
    "round robin": {
        "pool_mode": "transaction",
        "server_round_robin": "1",
        "default_pool_size": "2",
        "min_pool_size": "2",
    },
    "statement": {"pool_mode": "statement"},
}


@pytest.mark.parametrize("mode", HANDED_ON)
async def test_a_session_that_is_handed_on_is_recognised(
    mode: str, url: str, syncer: Any, db: Any, process: Any
) -> None:
    """What writes ends with 2 and the README's sentence before it wrote anything."""
    sentence = f"{SHARED[0].upper()}{SHARED[1:]}"
    for document in ("README.md", "deploy/README.md"):
        assert sentence in " ".join((ROOT / document).read_text().split())
    wrong = STATEMENTS if mode == "statement" else SHARED
    async with pooler(url, **HANDED_ON[mode]) as pooled:
        env = {"SYNCER_DATABASE_URL": pooled}
        for command in ("sync", "db upgrade", "approve FRA-A --max 1", "baseline save b"):
            done = await syncer(*command.split(), **env)
            assert (2, command) == (done.code, command), done.err
            assert wrong in done.err
            assert 1 == len(done.err.splitlines()), done.err
        done = await process("serve", "--http", "off", **env)
        assert (2, True) == (done.code, wrong in done.err), done.err
    assert 0 == await db.fetchval("select count(*) from syncer.runs")


@pytest.mark.parametrize("mode", ["transaction", "one session", "round robin"])
async def test_reading_goes_through_transaction_mode(
    mode: str, url: str, *, sync: Any, syncer: Any, process: Any, world: World
) -> None:
    """Again and again, and many at once: no statement and no setting is left to the next."""
    await sync()
    async with pooler(url, **HANDED_ON[mode]) as pooled:
        env = {"SYNCER_DATABASE_URL": pooled}
        for _ in range(2):
            for command in (
                "images", "zones", "changes --initial", "runs", "spread", "db status", "asof 0s",
                f"history {min(world.images('FRA-A'))}", "diff 1s",
            ):  # fmt: skip
                done = await syncer(*command.split(), **env)
                assert (0, command) == (done.code, command), done.err
        assert world.count() == len(rows(await syncer("images", **env)))

        for _ in range(2):  # processes that would name their statements alike
            done = await process("images", **env)
            assert (0, world.count()) == (done.code, len(rows(done))), done.err

        async def read() -> None:
            async with Server(pooled).reading() as connection:
                for _ in range(5):
                    async with reading_transaction(connection):
                        assert 120 == await connection.fetchval(
                            "select count(*) from syncer.images where image_id = any ($1::text[])"
                            " or true", ["x"],
                        )  # fmt: skip

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(read)
        done = await syncer("doctor", "-o", "ndjson", **env)
        (session,) = [row for row in rows(done) if row["check"] == "session"]
        assert ("failed", SHARED) == (session["status"], session["message"])
        async with Server(pooled).reading() as connection, connection.transaction():
            left = await connection.fetchval("select current_setting('search_path')")
        assert '"$user", public' == left


async def test_what_a_pooler_does_not_know_is_configuration(url: str) -> None:
    """It has one SQLSTATE for all: a database that is not listed is exit 2, one that is away 1."""
    async with pooler(url) as pooled:
        with pytest.raises(ConfigError, match=r"no such database.*08P01"):
            await Server(pooled.replace("?", "x?")).connect()
    async with pooler(url, reachable=False, query_wait_timeout="1") as pooled:
        with pytest.raises(DatabaseGone, match=r"query_wait_timeout \(SQLSTATE 08P01\)"):
            await Server(pooled, timing=Timing(connect=30.0)).connect()
