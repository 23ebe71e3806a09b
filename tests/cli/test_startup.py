"""What a command loads before it does its work: only what it uses."""

from __future__ import annotations

import json
import os
import sys

import anyio

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


async def loaded(*commands: str, **env: str) -> dict[str, set[str]]:
    """The modules that are loaded when each of these ends, in a process in which nothing was."""
    code = (
        "import json, sys; from syncer.cli import cli\n"
        "seen = {}\n"
        f"for command in {commands!r}:\n"
        "    try: cli(command.split())\n"
        "    except SystemExit: seen[command] = sorted(sys.modules)\n"
        "print(json.dumps(seen), file=sys.stderr)"
    )
    done = await anyio.run_process(
        [sys.executable, "-c", code], env={"PATH": os.environ["PATH"], **env}
    )
    found = json.loads(done.stderr.splitlines()[-1])
    return {command: set(modules) for command, modules in found.items()}


async def test_help_loads_neither_the_network_nor_the_database() -> None:
    """--help waits for none of the libraries that commands use."""
    (modules,) = (await loaded("--help")).values()
    assert set() == (HEAVY | {"asyncpg", "msgspec", "structlog"}) & modules


async def test_a_reading_command_loads_neither_the_crawler_nor_its_libraries(
    environment: dict[str, str],
) -> None:
    """With a database by URL: no crawler, no HTTP, no migrations, no simulator; rich for none.

    What none of these loads, one after the other in one process, each alone does not load.
    """
    commands = (
        "images", "zones", "runs", "changes", "history img-1", "diff 0s", "asof 0s", "spread",
        "check b", "baseline list", "approve Z --max 1", "db status", "db url",
    )  # fmt: skip
    seen = await loaded(*commands, **environment)
    assert set(commands) == seen.keys()
    for command, modules in seen.items():
        assert (command, set()) == (command, (HEAVY | NOT_FOR_READING) & modules)
        assert (command, "asyncpg" in modules) == (command, True)


async def test_a_table_loads_rich(environment: dict[str, str]) -> None:
    """What the tests above look for is found where it is used."""
    (modules,) = (await loaded("images -o table", **environment)).values()
    assert "rich" in modules
