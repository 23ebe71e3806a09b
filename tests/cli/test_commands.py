"""Commands as users run them: outputs, exit codes, and one clear line for bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from secrets import token_hex
from typing import Any

import aiohttp
import anyio
import click
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.serve.health import Health, Healths
from syncer.serve.http import listening
from syncer.serve.metrics import Metrics, Together
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.connection import Server
from tests.embedded.tools import nothing_runs
from tests.support import lose, rows, until


async def test_the_readers_show_what_was_stored(syncer: Any, world: World) -> None:
    """sync, then images, zones, runs and changes: every format, the columns of the views."""
    done = await syncer("sync")
    assert (0, "succeeded") == (done.code, rows(done)[0]["status"]), done.err
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    assert 0 == (await syncer("sync", "-o", "table")).code

    images = rows(await syncer("images", "--zone", "FRA-*", "--presence", "present"))
    assert sorted(world.images("FRA-A")) == [row["image_id"] for row in images]
    assert {"vm"} == {row["service"] for row in images}
    assert images[0]["first_seen_at"].endswith("+00:00")
    array = await syncer("images", "-o", "json", "--limit", "3")
    assert 3 == len(json.loads(array.out))
    table = csv.DictReader(io.StringIO((await syncer("zones", "-o", "csv")).out))
    assert sorted(world.zones()) == [row["zone_id"] for row in table]
    runs = rows(await syncer("runs"))
    assert [(2, 1), (1, 0)] == [(row["run_id"], row["removed"]) for row in runs]
    changes = rows(await syncer("changes", "--since", "1h"))
    assert ["removed"] == [row["kind"] for row in changes]
    assert changes[0]["before"]["image_name"] == changes[0]["image_name"]
    assert 121 == len(rows(await syncer("changes", "--initial")))
    assert [] == rows(await syncer("changes", "--since", "2099-01-01"))
    shown = await syncer("changes", "-o", "table")
    assert "removed" in shown.out
    assert changes[0]["image_id"] in shown.out


async def test_a_dry_run_prints_what_would_change(syncer: Any, world: World) -> None:
    """--dry-run prints one row a change, in the words of the feed, and stores nothing."""
    done = await syncer("sync", "--dry-run", "--zone", "FRA-A")
    assert (0, 20) == (done.code, len(rows(done))), done.err
    assert {"appeared"} == {row["kind"] for row in rows(done)}
    assert [] == rows(await syncer("runs"))


async def test_a_withheld_removal_is_exit_4(
    syncer: Any, world: World, simulator: Simulator
) -> None:
    """The guard's answer is seen by cron: exit 4. Tables say why zones failed, a cause a line."""
    await syncer("sync")
    lose(world, "FRA-A", 15)
    simulator.add_fault("status=400,code=NOT_TODAY,action=DescribeImages,zone=H*")
    simulator.add_fault("status=400,code=NOT_TODAY,action=DescribeImages,zone=L*")
    done = await syncer("sync")
    assert (3, 15) == (done.code, rows(done)[0]["withheld"])
    simulator.clear_faults()
    shown = await syncer("zones", "-o", "table")
    assert "withheld" == shown.out.splitlines()[1].split()[4]
    assert "guarded" not in shown.out
    assert "2 zones (vm/HKG-A, vm/LAX-A) failed: the API refused the request: NOT_" in shown.err
    read = await syncer("runs", "-o", "table", "--limit", "1")
    assert " 4 of 6 " in read.out
    assert 4 == (await syncer("sync")).code
    assert "" == (await syncer("zones", "-o", "table")).err


async def test_what_a_run_could_not_look_at_is_not_taken_for_nothing(
    syncer: Any, simulator: Simulator
) -> None:
    """A table without rows says how old it is, and why the last run failed.

    Of a zone that a run had no time for nothing is said to be wrong. Who only reads needs no
    credentials, nor whole ones.
    """
    no_change = await syncer("changes", "-o", "table")
    assert "" == no_change.err, "nobody looked yet"
    await syncer("sync")
    done = await syncer("diff", "now", "-o", "table")
    assert re.fullmatch(r"account default: all 6 zones had a whole look within \d+ s\n", done.err)
    simulator.add_fault("hang,zone=FRA-A,action=DescribeImages")
    await syncer("sync", SYNCER_RUN_TIMEOUT="0.5")
    done = await syncer("zones", "-o", "table")
    assert re.search(r"FRA-A .* not read ", done.out), done.out
    assert done.err.startswith("zone vm/FRA-A not read: the run's time of 0.5 s was over"), done.err
    simulator.gate.access_keys["test-key"] = "another"
    await syncer("sync")
    for command in (["changes"], ["diff", "now"], ["zones", "--service", "bmc"], ["zones"]):
        done = await syncer(*command, "-o", "table")
        assert 1 == done.err.count("run 3 failed: "), (command, done.err)
        assert (command == ["zones"]) == ("whole look" not in done.err), (command, done.err)
        assert "" == (await syncer(*command, "-o", "json")).err
    assert 0 == (await syncer("runs", ZENLAYER_ACCESS_KEY_ID="")).code, "half a pair"
    assert 2 == (await syncer("sync", ZENLAYER_ACCESS_KEY_ID="")).code


def settings_are_wrong(**env: str) -> tuple[list[str], dict[str, str], int, tuple[str, ...]]:
    return (["sync"], env, 2, tuple(env))


BAD: dict[str, tuple[list[str], dict[str, str], int, tuple[str, ...]]] = {
    "no credentials": settings_are_wrong(ZENLAYER_ACCESS_KEY_ID="", ZENLAYER_ACCESS_KEY_SECRET=""),
    "several settings": settings_are_wrong(SYNCER_RUN_TIMEOUT="soon", SYNCER_MAX_RATE="fast"),
    "bad database url": settings_are_wrong(SYNCER_DATABASE_URL="postgresql://u:{secret}@h:port/x"),
    "no such kind of server": (
        ["images"],
        {"SYNCER_DATABASE_URL": "postgresql://u:{secret}@127.0.0.1:1/x?target_session_attrs=best"},
        2,
        ("target_session_attrs can be any, read-write, read-only, ", ", and not 'best'"),
    ),
    "a file that is not there": settings_are_wrong(SYNCER_CONFIG="/nonexistent.toml"),
    "refused credentials": (
        ["sync"],
        {"ZENLAYER_ACCESS_KEY_SECRET": "{secret}"},
        1,
        ("check the access key or token",),
    ),
    "refused token": (["sync"], {"ZENLAYER_TOKEN": "{secret}"}, 1, ("check the access key",)),
    "unreachable database": (
        ["sync"],
        {"SYNCER_DATABASE_URL": "postgresql://u:{secret}@127.0.0.1:1/x"},
        1,
        ("127.0.0.1:1 is not available",),
    ),
    "no such database": (
        ["images"],
        {"SYNCER_DATABASE_URL": "{missing}"},
        2,
        ("does not exist",),
    ),
    "a faulty flag": (["sync", "--service", "gpu"], {}, 2, ("--service: unknown service 'gpu'",)),
    "no such zone": (["sync", "--zone", "NOPE-*"], {}, 2, ("no zone matches NOPE-*",)),
    "a bad moment": (["changes", "--since", "yesterday"], {}, 2, ("neither a time",)),
    "a glob that is none": (["images", "--zone", "[z-a]"], {}, 2, ("is not a glob",)),
    "unknown command": (["crawl"], {}, 2, ("No such command",)),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_one_clear_line(case: str, syncer: Any, url: str) -> None:
    """Bad input: the documented exit code, a line for each thing to do, no traceback, no secret."""
    arguments, env, code, words = BAD[case]
    secret = f"s3cr3t-{token_hex(8)}"  # not one that another test made known to this process
    database, question, options = url.partition("?")
    given = {"{secret}": secret, "{missing}": f"{database}_missing{question}{options}"}
    for placeholder, value in given.items():
        env = {name: text.replace(placeholder, value) for name, text in env.items()}

    done = await syncer(*arguments, **env)

    assert code == done.code, done
    for each in words:
        assert each in done.err
    assert "Traceback" not in done.err
    assert secret not in done.out + done.err
    own = [line for line in done.err.splitlines() if line.startswith("syncer: ")]
    assert done.err.startswith("Usage: ") or len(own) == len(done.err.splitlines())


async def test_an_unreachable_endpoint_says_what_to_check(sync: Any) -> None:
    """Connection refused: retried, then one line and exit 1."""
    report = await sync(ZENLAYER_ENDPOINT="http://127.0.0.1:1")
    assert (1, 6) == (report.exit_code, report.counts.retries)
    assert "check ZENLAYER_ENDPOINT" in report.fault.message
    assert "\n" not in report.fault.message


async def test_the_file_is_read_and_its_unknown_options_named(syncer: Any, tmp_path: Path) -> None:
    """An option that does not exist is named with those that do; a good file is used."""
    file = tmp_path / "s.toml"
    file.write_text('max_rates = 5\naccount = "mine"\n')
    done = await syncer("runs", SYNCER_CONFIG=str(file))
    assert 2 == done.code
    assert "unknown option 'max_rates'" in done.err
    assert "max_rate," in done.err
    file.write_text('account = "mine"\n')
    done = await syncer("sync", SYNCER_CONFIG=str(file))
    assert (0, "mine") == (done.code, rows(done)[0]["account"])


async def test_a_database_that_was_never_migrated_or_is_newer(
    syncer: Any, empty_url: str, db: Any
) -> None:
    """By URL only `syncer db upgrade` changes the schema; anything else stops with exit 2."""
    for command in (["sync"], ["sync", "--dry-run"], ["images"]):
        done = await syncer(*command, SYNCER_DATABASE_URL=empty_url)
        assert 2 == done.code
        assert "never migrated; run: syncer db upgrade" in done.err
    done = await syncer("db", "status", SYNCER_DATABASE_URL=empty_url)
    assert (2, "never migrated: run syncer db upgrade") == (done.code, rows(done)[0]["state"])
    assert 0 == (await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)).code
    done = await syncer("db", "status", SYNCER_DATABASE_URL=empty_url)
    version = (await db.fetchval("show server_version")).partition(" ")[0]  # "15.18 (Debian …)"
    assert (0, version) == (done.code, rows(done)[0]["server_version"])
    assert "up to date" in (await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)).out
    assert 0 == (await syncer("db", "roles", SYNCER_DATABASE_URL=empty_url)).code

    await db.execute("update syncer_store.alembic_version set version_num = '9999'")
    for command in (["sync"], ["db", "upgrade"], ["db", "status"]):
        done = await syncer(*command)
        assert 2 == done.code
        assert "newer than this program" in done.err + done.out


async def test_db_url_masks_the_password(syncer: Any, url: str) -> None:
    """The URL is printed for people, its password is not."""
    secret = url.replace("syncer@", "syncer:s3cr3t@")
    done = await syncer("db", "url", SYNCER_DATABASE_URL=secret)
    assert 0 == done.code
    assert "syncer:***@" in done.out
    assert "s3cr3t" not in done.out + done.err


async def test_sigterm_stops_the_asking_and_keeps_what_was_read(
    environment: dict[str, str], db: Any
) -> None:
    """SIGTERM in mid-run: exit 3, the run is partial, what was read is stored."""
    world = World.generate(seed=2, zones=8, images=10)
    async with Simulator(
        world, SimulatorOptions(access_keys={"test-key": "test-secret"})
    ) as simulator:
        environment["ZENLAYER_ENDPOINT"] = simulator.endpoint
        environment["SYNCER_MAX_CONCURRENCY"] = "1"
        process = await anyio.open_process(
            [sys.executable, "-m", "syncer", "sync"],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        simulator.add_fault("hang,action=DescribeImages,after=4")
        async with process:
            calls = simulator.calls
            await until(lambda: len(calls) >= 6 and any(call.status is None for call in calls))
            process.send_signal(signal.SIGTERM)
            assert 3 == await process.wait()
    row = await db.fetchrow("select status, error_code, images from syncer.runs")
    assert ("partial", "STOPPED", 40) == tuple(row)
    assert 40 == await db.fetchval("select count(*) from syncer.images")


async def test_the_embedded_database_is_used_where_none_is_given(
    process: Any, data_home: Path, pg_bin: str | None
) -> None:
    """Without a URL: started, migrated, used, stopped; the data stays for the next command.

    That it begins is said once. Before that a dry run leaves nothing.
    """
    env = {
        "SYNCER_DATABASE_URL": "",
        "SYNCER_STATE_DIR": str(data_home),
        "SYNCER_PG_BIN": pg_bin or "",
    }
    env["SYNCER_LOG_LEVEL"] = "warning"
    done = await process("sync", "--dry-run", **env)
    assert (0, 120, "") == (done.code, len(rows(done)), done.err)
    assert not os.path.lexists(data_home)  # noqa: ASYNC240
    done = await process("sync", **env)
    assert (0, 1) == (done.code, done.err.count("inventory.begun")), done.err
    assert str(data_home) in done.err
    done = await process("images", "--limit", "2", **env)
    assert (0, 2, "") == (done.code, len(rows(done)), done.err)
    nothing_runs(data_home / "postgres")


async def test_the_demo_shows_the_main_job(
    syncer: Any, data_home: Path, pg_bin: str | None
) -> None:
    """`syncer demo` ends with 0 and shows what appeared, changed and was removed; twice.

    Also after another version of PostgreSQL, whose data are left alone.
    """
    (data_home / "demo/postgres/data-9").mkdir(parents=True)
    env = {
        "SYNCER_STATE_DIR": str(data_home),
        "SYNCER_PG_BIN": pg_bin or "",
        "ZENLAYER_ACCESS_KEY_ID": "",
        "ZENLAYER_ACCESS_KEY_SECRET": "",
    }
    for _ in range(2):
        done = await syncer("demo", **env)
        assert (0, "") == (done.code, done.err)
        for word in ("appeared", "changed", "removed", "FRA-A", "syncer.image_field_changes"):
            assert word in done.out
        assert re.search(r"That took \d+ s\. Try", done.out)
        to_try = re.findall(r"^  SYNCER_STATE_DIR=\S+ \S+ (\w+) ", done.out, re.MULTILINE)
        assert ["images", "history", "db"] == to_try


def test_help_names_every_command_and_each_has_help() -> None:
    """--help lists the commands and the exit codes; each command has help of its own."""
    help_text = CliRunner().invoke(cli, ["--help"]).output
    assert "Exit codes" in help_text
    for command in cli.list_commands(click.Context(cli)):
        assert f"  {command}" in help_text
        assert f"Usage: syncer {command}" in (
            CliRunner().invoke(cli, [command, "--help"], prog_name="syncer").output
        )


async def test_a_command_does_the_same_in_a_process(
    syncer: Any, process: Any, world: World
) -> None:
    """Each command once as a user runs it: the same code and output as in this process."""
    image = min(world.images("FRA-A"))
    done = await process("sync", "--zone", "FRA-A")
    assert (0, "succeeded", 20) == (done.code, rows(done)[0]["status"], rows(done)[0]["images"])
    done = await process("baseline", "save", "b")
    assert (0, "Saved baseline b: 20 images in 1 zone") == (done.code, done.out.split(",")[0])
    world.change_image("FRA-A", image, imageVersion="99")
    assert 0 == (await syncer("sync", "--zone", "FRA-A")).code
    done = await process("approve", "FRA-A", "--max", "3")
    assert (0, "Approved: at most 3 removals") == (done.code, done.out.split(" in ")[0])
    codes = {}
    for arguments in (
        ("images", "-o", "csv", "--limit", "3"),
        ("zones", "-o", "json"),
        ("runs",),
        ("changes", "-o", "csv"),  # a table has ages
        ("history", image),
        ("diff", "1", "2", "--exit-code"),
        ("asof", "1", "--limit", "3"),
        ("spread",),
        ("check", "b"),
        ("baseline", "list"),
        ("prune", "--keep", "400d", "--dry-run"),
        ("db", "status"),
        ("images", "--zone", "[z-a]"),
        ("diff", "99"),
    ):
        done = await process(*arguments)
        assert await syncer(*arguments) == done
        codes[arguments[0]] = done.code
    assert {"diff": 2, "check": 6, "images": 2} == {n: code for n, code in codes.items() if code}


async def test_the_reader_role_can_use_the_reading_commands(syncer: Any, url: str, db: Any) -> None:
    """A login with syncer_reader reads with the commands, and cannot sync."""
    assert 0 == (await syncer("sync")).code
    assert 0 == (await syncer("db", "roles")).code
    login = f"dashboard_{os.getpid()}"
    await db.execute(f"create role {login} login in role syncer_reader")
    try:
        env = {"SYNCER_DATABASE_URL": url.replace("//syncer@", f"//{login}@")}
        assert 120 == len(rows(await syncer("images", **env)))
        done = await syncer("sync", **env)
        assert 2 == done.code
        assert "cannot sync, it lacks" in done.err
        for command in (("approve", "FRA-A", "--max", "1"), ("baseline", "save", "b")):
            done = await syncer(*command, **env)
            assert 2 == done.code
            assert "connect as a role that may: 'syncer db roles' makes" in done.err
    finally:
        await db.execute(f"drop role {login}")


async def test_a_reader_that_had_enough_ends_the_output_quietly(
    environment: dict[str, str], syncer: Any
) -> None:
    """`syncer images | head -1` prints one line and no complaint."""
    await syncer("sync")
    command = f"set -o pipefail; {sys.executable} -m syncer images | head -1"
    done = await anyio.run_process(
        ["bash", "-c", command], check=False, env={"PATH": os.environ["PATH"], **environment}
    )
    assert (1, b"") == (len(done.stdout.splitlines()), done.stderr)


async def test_a_role_without_rights_gets_one_line(syncer: Any, db: Any, url: str) -> None:
    """A login that nobody granted anything: exit 2, no traceback, and /readyz says why."""
    login = f"stranger_{db.get_server_pid()}"
    await db.execute(f"create role {login} login")
    theirs = url.replace("//syncer@", f"//{login}@")
    try:
        for command in (("images",), ("zones",), ("sync",), ("prune", "--keep", "400d")):
            done = await syncer(*command, SYNCER_DATABASE_URL=theirs)
            assert (2, 1) == (done.code, done.err.count("\n")), done.err
            assert "permission denied" in done.err
        health = Healths({"default": Health(every=900, limit=1000)})
        metrics = Together([Metrics("default", live=True)])
        async with (
            listening(("127.0.0.1", 0), Server(theirs), health, metrics) as address,
            aiohttp.ClientSession() as client,
            client.get(f"{address}/readyz") as reply,
        ):
            assert 503 == reply.status
            assert "permission denied" in (await reply.json())["why"]
    finally:
        await db.execute(f"drop role {login}")


async def test_a_table_names_the_account_where_there_are_several(
    simulator: Simulator, syncer: Any, sync: Any
) -> None:
    """Of one account nothing is said of it; lines of JSON always have it."""
    await sync()
    for command in ("images", "zones"):
        assert "ACCOUNT" not in (await syncer(command, "-o", "table")).out
    await sync(SYNCER_ACCOUNT="other")
    for command in ("images", "zones", "runs", "changes --initial", "asof 0s", "diff 1h"):
        head, *lines = (await syncer(*command.split(), "-o", "table")).out.splitlines()
        assert "ACCOUNT" in head, command
        assert any("other" in line for line in lines), command
        one = await syncer(*command.split(), "--account", "other", "-o", "table")
        assert "ACCOUNT" not in one.out, "which account it is was asked for"
    simulator.add_fault("status=400,action=DescribeImages,zone=FRA-A")
    for account in ("default", "other"):
        await sync(SYNCER_ACCOUNT=account)
    said = (await syncer("zones", "-o", "table")).err
    assert said.startswith("2 zones (default vm/FRA-A, other vm/FRA-A) failed: "), said
