"""A backup loses nothing, and is restored as the document says."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from syncer.cli.output import replacing
from syncer.core.errors import ConfigError
from syncer.embedded import EmbeddedPostgres, find_binaries
from syncer.embedded.dump import dump
from syncer.simulator import World
from syncer.store.connection import sql
from tests.support import assert_exact, connected

README = (Path(__file__).parents[2] / "deploy/README.md").read_text()


async def objects(dsn: str) -> set[str]:
    """Constraints, triggers, indexes, columns, functions and the revision."""
    async with connected(dsn) as connection:
        await connection.execute("set search_path to ''")
        return {row[0] for row in await connection.fetch(sql("move/objects"))}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def restore_commands() -> list[str]:
    """What the document says between the dump and the program's own commands."""
    (section,) = re.findall(r"^### Backup\n(.*?)^### ", README, re.MULTILINE | re.DOTALL)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
             for line in block.splitlines()]  # fmt: skip
    return [line for line in lines if not line.startswith(("syncer", "export"))]


async def test_a_backup_is_restored_as_the_document_says(  # noqa: PLR0917  (fixtures)
    sync: Any,
    syncer: Any,
    environment: dict[str, str],
    world: World,
    url: str,
    postgres: EmbeddedPostgres,
    pg_bin: str | None,
    tmp_path: Path,
) -> None:
    """Every constraint is there, every row is, and the program goes on with it."""
    await sync()
    world.drift(5, appear=5, change=5, remove=5)
    await sync()
    done = await syncer("db", "dump", "--file", "syncer.dump")
    assert (0, "") == (done.code, done.out), done.err
    file = tmp_path / "syncer.dump"
    assert stat.S_IRUSR | stat.S_IWUSR == stat.S_IMODE(file.stat().st_mode)
    printed = await anyio.run_process(
        [sys.executable, "-m", "syncer", "db", "dump"], env={**os.environ, **environment}
    )
    assert printed.stdout.startswith(b"PGDMP")

    place = parse_qs(urlsplit(url).query)
    where = {
        "PATH": f"{find_binaries(pg_bin).directory}:/usr/bin:/bin",
        "PGHOST": place["host"][0],
        "PGPORT": place["port"][0],
        "PGUSER": "syncer",
    }
    commands = restore_commands()
    assert ["createdb", "pg_restore"] == [command.split()[0] for command in commands]
    try:
        for command in commands:
            await anyio.run_process(command, env=where, cwd=tmp_path)
        restored = postgres.dsn("inventory")
        found = await objects(restored)
        assert await objects(url) == found
        assert any("image_history_never_overlaps x t" in each for each in found)
        for name in ("upgrade", "roles", "status"):
            done = await syncer("db", name, SYNCER_DATABASE_URL=restored)
            assert 0 == done.code, done.err
        world.drift(6, appear=3, change=3, remove=0)
        assert 0 == (await sync(SYNCER_DATABASE_URL=restored)).exit_code
        async with connected(restored) as connection:
            await assert_exact(connection, world)
    finally:
        async with connected(postgres.dsn("postgres")) as connection:
            await connection.execute("drop database if exists inventory with (force)")


async def test_a_backup_that_fails_leaves_the_one_before(
    syncer: Any, empty_url: str, tmp_path: Path
) -> None:
    """The server is away, or holds no inventory: the file that was there stays as it was.

    Also where the setting that leads to the inventory was lost: none is begun to be backed up.
    """
    file = tmp_path / "syncer.dump"
    file.write_text("before")
    away = "postgresql://me:s3cr3t-w0rd@127.0.0.1:1/x"
    for address, code in ((away, 1), (empty_url, 2)):
        done = await syncer("db", "dump", "-f", str(file), SYNCER_DATABASE_URL=address)
        assert (code, "", 1) == (done.code, done.out, len(done.err.splitlines())), done.err
        assert "s3cr3t" not in done.err
        assert "before" == file.read_text()
    assert ["syncer.dump"] == names(tmp_path)
    nowhere = {"SYNCER_DATABASE_URL": "", "SYNCER_STATE_DIR": str(tmp_path / "lost")}
    done = await syncer("db", "dump", "-f", str(file), **nowhere)
    assert (2, "", 1) == (done.code, done.out, len(done.err.splitlines())), done.err
    assert f"no embedded inventory under {tmp_path}/lost" in done.err
    assert ("before", ["syncer.dump"]) == (file.read_text(), names(tmp_path))
    for place in (tmp_path, tmp_path / "none" / "x"):
        done = await syncer("db", "dump", "-f", str(place))
        assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
        assert "cannot be written" in done.err


async def test_a_full_disk_is_an_error_with_a_name(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = f"{sys.executable} -m syncer db dump > /dev/full"
    done = await anyio.run_process(command, env={**os.environ, **environment}, check=False)
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert b"syncer: the backup is not whole" in done.stderr
    assert b"No space left" in done.stderr


def test_an_error_of_who_writes_the_backup_is_not_the_files(tmp_path: Path) -> None:
    """What else failed meanwhile is not said to be the output's."""
    with pytest.raises(PermissionError, match="to end a process"), replacing(tmp_path / "x"):
        raise PermissionError(1, "to end a process")


async def test_without_a_pg_dump_that_will_do_it_says_what_to_install() -> None:
    with (
        tempfile.TemporaryFile() as output,
        pytest.raises(ConfigError, match=r"found: .*\): install postgresql-client-99, or set"),
    ):
        await dump("postgresql://x", output, server=99, pg_bin=None, environment=None)


async def test_a_password_goes_to_pg_dump_by_the_environment(tmp_path: Path) -> None:
    """The command line of a process can be read by everybody."""
    program = tmp_path / "pg_dump"
    program.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo "pg_dump (PostgreSQL) 99.1";;'
        ' *) echo "$@"; echo "password $PGPASSWORD";; esac\n'
    )
    program.chmod(0o755)
    for address, bare in (
        (
            "postgresql://me:s3%20cr3t@h:1/db?sslmode=prefer",
            "user=me&host=h&port=1&dbname=db&sslmode=prefer",
        ),
        ("postgresql:///d+b?password=s3%20cr3t&host=/a", "dbname=d%2Bb&host=%2Fa"),
    ):
        with tempfile.TemporaryFile() as output:
            await dump(address, output, server=99, pg_bin=str(tmp_path), environment=None)
            output.seek(0)
            arguments, password = output.read().decode().splitlines()
        assert f"--dbname=postgresql://?{bare}" in arguments.split()
        assert "password s3 cr3t" == password
    for name in ("sslpassword", "ssl%70assword"):  # no variable of libpq's can hold it
        address = f"postgresql://me@h/db?{name}=s3cr3t"
        with (
            tempfile.TemporaryFile() as output,
            pytest.raises(ConfigError, match="sslpassword would stand on") as refused,
        ):
            await dump(address, output, server=99, pg_bin=str(tmp_path), environment=None)
        assert "s3cr3t" not in str(refused.value)


async def test_a_backup_that_its_server_would_not_take_is_warned_of(
    syncer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pg_dump of a newer version writes what an older server refuses."""
    monkeypatch.setattr("syncer.embedded.dump.candidates", lambda _: iter(()))
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\n[ "$1" != --version ] || echo "pg_dump (PostgreSQL) 99.1"\n')
    program.chmod(0o755)
    env = {"SYNCER_PG_BIN": str(tmp_path), "PATH": "/nowhere", "SYNCER_LOG_LEVEL": "warning"}
    done = await syncer("db", "dump", "-f", "a.dump", **env)
    assert (0, 1) == (done.code, done.err.count("backup.newer_than_server")), done.err
    assert "restored into PostgreSQL 99 or newer" in done.err
