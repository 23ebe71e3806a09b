"""What a stranger prepared in or around a home: it is not read, made, started, joined or ended."""

# ruff: noqa: ASYNC220, ASYNC240
# (these tests look at files and processes between awaits, and nothing else runs in their loop)

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from syncer.core.errors import ConfigError
from syncer.embedded import HomeRefused
from syncer.embedded.majors import note_origin
from syncer.embedded.postmaster import Postmaster
from tests.embedded.tools import ask, embedded, eventually, gone
from tests.support import STRANGER, as_user, needs_root


def began(arguments: Path) -> bool:
    return arguments.read_bytes().startswith(b"tail\0")


@needs_root
@pytest.mark.parametrize("part", ["home", "run", "data"])
async def test_a_part_of_a_home_that_is_a_strangers_is_refused(place: Path, part: str) -> None:
    """Also what was left of one that root took over; what is in it, or it links to, stays."""
    async with embedded(place) as pg:
        major = pg.major
    planted = {"home": place, "run": place / f"run-{major}", "data": place / f"data-{major}"}[part]
    os.chown(planted, STRANGER, STRANGER)
    with pytest.raises(HomeRefused, match=rf"{planted} is not yours alone .*: run it as uid"):
        async with embedded(place):
            pass
    os.chown(planted, 0, 0)
    roots = place.with_name("roots")
    planted.rename(roots)
    planted.symlink_to(roots)
    os.chown(planted, STRANGER, STRANGER, follow_symlinks=False)
    before = sorted(roots.rglob("*"))
    with pytest.raises(HomeRefused, match=rf"{planted} is not yours alone .it is a link"):
        async with embedded(place):
            pass
    assert before == sorted(roots.rglob("*"))
    os.chown(planted, 0, 0, follow_symlinks=False)
    async with embedded(place) as pg:  # as a link of our own it will do
        assert await ask(pg.dsn(), "select 1") == 1
    planted.unlink()
    shutil.rmtree(roots)


@needs_root
async def test_a_strangers_process_is_not_taken_for_the_server(place: Path) -> None:
    """A pid file may name any process, and a process may show any arguments."""
    data = place / "data-18"
    data.mkdir(parents=True)
    for uid in (STRANGER, 0):
        before = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
        shown = [*before, "tail", "-f", "/dev/null", "--", str(data)]
        forged = subprocess.Popen(shown, stderr=subprocess.DEVNULL)
        try:
            (data / "postmaster.pid").write_text(f"{forged.pid}\n\n\n\n\n\n\nready   \n")
            arguments = Path(f"/proc/{forged.pid}/cmdline")
            eventually(partial(began, arguments), "it did not start")
            found = Postmaster.of(data)
            assert (found is not None) == (uid == 0)
        finally:
            forged.kill()
            forged.wait()
    (data / "postmaster.pid").unlink()
    os.mkfifo(data / "postmaster.pid")
    assert Postmaster.of(data) is None  # at once


@needs_root
async def test_a_strangers_socket_is_not_spoken_to(home: Path) -> None:
    """Who listens is known from the kernel before anything is sent."""
    async with embedded(home) as pg:
        (host,) = parse_qs(urlsplit(pg.dsn()).query)["host"]
        path = Path(host, ".s.PGSQL.5432")
        path.rename(kept := path.with_name("kept"))
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(str(path))
            with as_user(STRANGER):
                theirs.listen()
            with pytest.raises(ConfigError, match=f"uid {STRANGER} listens at the socket"):
                async with embedded(home):
                    pass
            theirs.settimeout(5)
            with theirs.accept()[0] as connection:
                assert b"" == connection.recv(1)
        kept.replace(path)
        assert await ask(pg.dsn(), "select 1") == 1
        pid = pg.running_pid
        assert pid
    gone(pid)


@needs_root
def test_what_the_servers_user_planted_is_not_followed(place: Path) -> None:
    """Nobody owns the data in a plain container; root writes there beside the server."""
    data, victim = place / "data-18", place / "victim"
    data.mkdir(parents=True)
    victim.write_text("kept")
    (data / "moved-from").symlink_to(victim)
    for path in (data, data / "moved-from"):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(PermissionError, match="it is a link"):
        note_origin(data, 15)
    assert "kept" == victim.read_text()
    (data / "moved-from").unlink()
    note_origin(data, 15)
    assert STRANGER == (data / "moved-from").stat().st_uid


async def test_a_name_of_two_lines_is_refused(place: Path) -> None:
    """PostgreSQL's files have one line for it."""
    with pytest.raises(ConfigError, match=r"several lines: set SYNCER_STATE_DIR"):
        async with embedded(place / "a\nb"):
            pass
    assert not place.exists()
