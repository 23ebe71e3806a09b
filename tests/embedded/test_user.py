"""Which user runs the server: the one we are, or nobody."""

# ruff: noqa: ASYNC240
# (these tests look at files and processes between awaits, and nothing else runs in their loop)

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest

from syncer.core.errors import ConfigError
from syncer.embedded import HomeRefused
from tests.embedded.tools import (
    NOBODY,
    ROOT,
    Guest,
    ask,
    embedded,
    gone,
    namespaces_are_open,
    owner_of,
    without_namespaces,
)
from tests.support import needs_root

AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
AS_NO_NAME = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"]
SYSTEM_PYTHON = "/usr/bin/python3"


def python_for(before: Sequence[str]) -> str:
    """Return a python that other users can reach, with our libraries; root's own may not be."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    probe = ["env", f"PYTHONPATH={ROOT}:{site}"]
    for python in (sys.executable, SYSTEM_PYTHON):
        tried = [*before, *probe, python, "-c", "import syncer.embedded"]
        if subprocess.run(tried, check=False, capture_output=True, cwd="/").returncode == 0:
            return python
    pytest.skip("no python with our libraries is within reach of another user")


@needs_root
@pytest.mark.parametrize("before", [AS_NOBODY, AS_NO_NAME], ids=["nobody", "no-name"])
async def test_not_root_runs_as_itself(
    place: Path, before: list[str], guest: Callable[..., Guest]
) -> None:
    """Another user runs the server itself, even one without a name; root does not join it."""
    python = python_for(before)
    place.mkdir()
    uid = int(before[1].rpartition("=")[2])
    os.chown(place, uid, uid)
    other = guest(place, before=before, python=python)
    pid = other.entered()
    assert owner_of(pid) == uid
    with pytest.raises(ConfigError, match=rf"{place} is not yours alone .*sudo -u .* syncer"):
        async with embedded(place):
            pass
    assert other.leave() == "left"
    gone(pid)
    assert {path.lstat().st_uid for path in (place, *place.rglob("*"))} == {uid}


@needs_root
async def test_root_stays_root_on_disk(home: Path) -> None:
    """With user namespaces, no file changes hands and the server is only called nobody."""
    if not namespaces_are_open():
        pytest.skip("user namespaces are closed here")
    async with embedded(home) as pg:
        assert pg.running_pid
        status = Path(f"/proc/{pg.running_pid}/uid_map").read_text().split()
        assert status == [str(NOBODY), "0", "1"]
        assert {path.lstat().st_uid for path in home.rglob("*")} == {0}


@needs_root
async def test_root_becomes_nobody_where_user_namespaces_are_closed(
    home: Path, guest: Callable[..., Guest]
) -> None:
    """As in a plain container: the server runs as nobody, who is given the data, for good.

    Nothing else is: where our locks and our log lie, nobody may not write.
    """
    contained = without_namespaces(guest, home)
    pid = contained.entered()
    assert owner_of(pid) == NOBODY
    assert contained.leave() == "left"
    gone(pid)
    (data,) = home.glob("data-*")
    (given,) = home.glob("run-*/socket")
    assert {path.lstat().st_uid for path in (given, data, *data.rglob("*"))} == {NOBODY}
    rest = {home, *home.rglob("*")} - {given, data, *data.rglob("*")}
    assert {path.lstat().st_uid for path in rest} == {0}
    async with embedded(home) as pg:  # namespaces are open again
        assert pg.running_pid
        assert owner_of(pg.running_pid) == NOBODY
        assert await ask(pg.dsn(), "select 1") == 1


@needs_root
async def test_root_takes_back_what_an_older_version_gave_to_nobody(home: Path) -> None:
    """Such a home is refused with the command that gives it back; then its data are there."""
    async with embedded(home) as pg:
        await ask(pg.dsn(), "create table given_back ()")
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(HomeRefused) as refused:
        async with embedded(home):
            pass
    command = re.search(r"before, (chown .*), or set", str(refused.value))
    assert command, refused.value
    await anyio.run_process(shlex.split(command[1]))
    async with embedded(home) as pg:
        assert await ask(pg.dsn(), "select count(*) from given_back") == 0


@needs_root
async def test_root_that_may_become_nobody_else_learns_why(
    home: Path, guest: Callable[..., Guest]
) -> None:
    """Where no user namespace can be made and no user taken, the error gives both reasons."""
    if not namespaces_are_open():
        pytest.skip("user namespaces are closed here: root cannot be confined to one user")
    message = without_namespaces(guest, home, uids=1).leave()
    assert message.startswith("ConfigError PostgreSQL does not run as root")
    assert "a user namespace is refused (unshare: " in message
    assert f"uid {NOBODY} is refused (setpriv: " in message
    assert "SYNCER_DATABASE_URL" in message
