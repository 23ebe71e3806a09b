"""A night for the dashboards; what `make install-systemd` lays down, and a systemd for it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pip
import pytest

from tests.deploy.night import Night, plant
from tests.deploy.tools import PYTHON, Box, install, run, tool
from tests.support import Migrated, connected

LIBRARIES = "/opt/libraries"
KINDS = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork")


@pytest.fixture(scope="session")
async def _night(migrated: Migrated) -> AsyncIterator[Any]:
    async with migrated.copy() as url, connected(url) as connection:
        yield connection, await plant(connection)


@pytest.fixture
async def night(_night: Any) -> Night:
    """A database with a night planted by hand, read as Grafana reads it."""
    connection, begin = _night
    return Night(connection, begin, (await connection.fetchval("select now()")).astimezone(UTC))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """An installation in a folder: our wheel, its libraries expected at LIBRARIES.

    It takes seconds, so the workers of pytest-xdist share it.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "installed"
    with root.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        libraries = "opt/syncer/venv/lib/python3*/site-packages/libraries.pth"
        if not list(root.glob(libraries)):
            built = tmp_path_factory.mktemp("wheel")
            run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built)
            wheel = f"WHEEL={next(built.glob('*.whl'))}"
            install(root, "LOCK=", wheel, python=_python_with_pip(built))
            packages = next(root.glob(str(Path(libraries).parent)))
            packages.joinpath("pip.pth").unlink()
            packages.joinpath("libraries.pth").write_text(LIBRARIES)
    return root


def _python_with_pip(folder: Path) -> str:
    """Return a Python whose environments take our pip: to unpack one takes three seconds."""
    (folder / "ours").mkdir()
    (folder / "ours/pip").symlink_to(Path(pip.__path__[0]))
    script = folder / "python"
    script.write_text(f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {PYTHON} "$@"
{PYTHON} -m venv --without-pip "$3"
for packages in "$3"/lib/python3*/site-packages; do echo {folder}/ours >"$packages/pip.pth"; done
""")
    script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="session")
def box(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine that systemd runs, over the files of this one and the installation."""
    unshare = tool("unshare", "util-linux")
    for name, package in {"ip": "iproute2", "dbus-daemon": "dbus", "curl": "curl"}.items():
        tool(name, package)
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is not installed (package systemd)")
    if subprocess.run([unshare, *KINDS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not to be had: that takes root")
    scratch = tmp_path_factory.mktemp("box")
    ends_with_us = (tool("setpriv", "util-linux"), "--pdeathsig=KILL", "--")
    script = (Path(__file__).parent / "box.sh", scratch, installed)
    with (scratch / "log").open("w+") as log:
        outer = subprocess.Popen(
            [
                *ends_with_us,
                unshare,
                *KINDS,
                "--kill-child",
                *script,
                sysconfig.get_path("purelib"),
                LIBRARIES,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield _booted(outer, scratch / "log")
        finally:
            outer.kill()
            outer.wait()


def _booted(outer: subprocess.Popen[bytes], log: Path) -> Box:
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    for _ in range(600):
        assert outer.poll() is None, log.read_text()
        if init := children.read_text().split():
            box = Box(int(init[0]))
            if box.state() in {"running", "degraded"}:
                return box
        time.sleep(0.02)
    raise AssertionError(f"systemd did not boot: {log.read_text()}")
