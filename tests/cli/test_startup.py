"""What a command loads before it does its work: only what it uses."""

from __future__ import annotations

import json
import os
import sys

import anyio
import pytest

HEAVY = {"aiohttp", "alembic", "sqlalchemy", "rich", "prometheus_client", "urllib.request"}
NOT_FOR_READING = {
    "syncer.app",
    "syncer.bench",
    "syncer.doctor",
    "syncer.embedded",
    "syncer.serve",
    "syncer.simulator",
    "syncer.store.migrate",
    "syncer.store.writer",
    "syncer.sync",
    "syncer.zenlayer.client",
    "syncer.zenlayer.transport",
}


async def loaded(*arguments: str, **env: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = (
        "import json, sys; from syncer.cli import cli\n"
        f"try: cli({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = await anyio.run_process(
        [sys.executable, "-c", code], env={"PATH": os.environ["PATH"], **env}
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


async def test_help_loads_neither_the_network_nor_the_database() -> None:
    """--help waits for none of the libraries that commands use."""
    assert set() == (HEAVY | {"asyncpg", "msgspec", "structlog"}) & await loaded("--help")


@pytest.mark.parametrize(
    "arguments",
    [
        ["images"],
        ["zones"],
        ["runs"],
        ["changes"],
        ["history", "img-1"],
        ["diff", "0s"],
        ["asof", "0s"],
        ["spread"],
        ["check", "b"],
        ["baseline", "list"],
        ["approve", "Z", "--max", "1"],
        ["db", "status"],
        ["db", "url"],
    ],
    ids=" ".join,
)
async def test_a_reading_command_loads_neither_the_crawler_nor_its_libraries(
    arguments: list[str], environment: dict[str, str]
) -> None:
    """With a database by URL: no crawler, no HTTP, no migrations, no simulator; rich for none."""
    modules = await loaded(*arguments, **environment)
    assert "asyncpg" in modules
    assert set() == (HEAVY | NOT_FOR_READING) & modules


async def test_a_table_loads_rich(environment: dict[str, str]) -> None:
    """What the tests above look for is found where it is used."""
    assert "rich" in await loaded("images", "-o", "table", **environment)
