"""A PgBouncer between the program and PostgreSQL, with its default configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from tests.proxy import Proxy
from tests.support import until

_NOBODY = 65534


@contextlib.asynccontextmanager
async def pooler(url: str, *, reachable: bool = True, **settings: str) -> AsyncIterator[str]:
    """Run one in front of a URL's server; yield the URL through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed (package pgbouncer)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It runs as nobody where we are root, and then may not reach the socket of the tests' server.
    async with Proxy(url) as proxy:
        server = urlsplit(proxy.url)
        given = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            **settings,
        }
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            await anyio.Path(folder).chmod(0o755)
            (folder / "users").write_text(f'"{server.username}" ""\n')
            (folder / "ini").write_text(
                f"[databases]\n{server.path[1:]} = host=127.0.0.1 "
                f"port={server.port if reachable else 1}\n"
                f"[pgbouncer]\nauth_file = {folder / 'users'}\n"
                + "".join(f"{name} = {value}\n" for name, value in given.items())
            )
            root = os.geteuid() == 0
            process = await anyio.open_process(
                [program, "-q", str(folder / "ini")],
                user=_NOBODY if root else None,
                group=_NOBODY if root else None,
                stdout=None,
                stderr=None,
            )
            async with process:
                try:
                    await _listens(port)
                    yield f"postgresql://{server.username}@127.0.0.1:{port}{server.path}?sslmode=disable"
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()


async def _listens(port: int) -> None:
    async def answers() -> bool:
        with contextlib.suppress(OSError):
            await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            return True
        return False

    await until(answers)
