"""An API that is far away: its certificate, and the link to it in a process of its own."""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from syncer.bench.link import LinkChange, LinkCounts, LinkOptions
from syncer.config.machine import bare_environment
from syncer.core.errors import SyncerError

NEEDS: Final = "trustme"
"""What makes certificates: of syncer's extra `peers`."""
LISTED: Final = {
    "late": "zones listed a second later",
    "failing": "zones not listed",
    "one less": "one zone less listed",
    "whole": "one zone more listed than before",
}
"""What is measured beside the usual, in turn: how the server lists zones, and in words."""
_HOST: Final = "127.0.0.1"
_START_TIMEOUT: Final = 60.0  # seconds: a process, on a machine at work
_LONGEST_LINE: Final = 10_000  # bytes


class LinkLost(SyncerError):
    """The link to the API ended, or does not answer."""


class Certificates(msgspec.Struct, frozen=True, kw_only=True):
    """Files: what the server shows (its key with it), and the authorities that clients trust."""

    server: Path
    authorities: Path


class Secure(msgspec.Struct, frozen=True, kw_only=True):
    """The port of this machine where the API is served over TLS, and whom clients must trust."""

    port: int
    authorities: Path


def installed() -> bool:
    """Whether certificates can be made here."""
    return find_spec(NEEDS) is not None


def make_certificates(folder: Path) -> Certificates:
    """Make an authority that nobody else trusts and a certificate of it, as files in the folder.

    Clients are given it together with the machine's own authorities: reading those is a part of
    what TLS costs them.
    """
    import trustme  # noqa: PLC0415  (of an extra)

    authority = trustme.CA(organization_name="syncer bench")
    made = Certificates(server=folder / "server.pem", authorities=folder / "authorities.pem")
    made.server.touch(mode=0o600)
    authority.issue_cert(_HOST).private_key_and_cert_chain_pem.write_to_path(str(made.server))
    usual = ssl.get_default_verify_paths().cafile
    known = Path(usual).read_bytes() if usual and Path(usual).is_file() else b""
    made.authorities.write_bytes(known + b"\n" + authority.cert_pem.bytes())
    return made


class FarLink:
    """The link, as whoever measures through it sees it. Use ``open_link``."""

    def __init__(self, process: Process, *, answer_timeout: float) -> None:
        assert process.stdout is not None  # noqa: S101  (a pipe)
        self.process = process
        self.endpoint = ""
        """The API's address beyond it."""
        self._answers = BufferedByteReceiveStream(process.stdout)
        self._timeout = answer_timeout
        self._turn = anyio.Lock()

    async def open(self, options: LinkOptions) -> None:
        """Let it begin to listen. Raises LinkLost."""
        port = await self._ask(msgspec.json.encode(options), _START_TIMEOUT)
        self.endpoint = f"https://{_HOST}:{int(port)}"

    async def counts(self) -> LinkCounts:
        """Return what came over it since it began. Raises LinkLost."""
        return await self.change(LinkChange())

    async def change(self, change: LinkChange) -> LinkCounts:
        """Change it; return its counts. Raises LinkLost."""
        answer = await self._ask(msgspec.json.encode(change), self._timeout)
        return msgspec.json.decode(answer, type=LinkCounts)

    async def watch(self) -> None:
        """Wait until it ends, which it should not: raises LinkLost."""
        code = await self.process.wait()
        raise LinkLost(f"the link to the API ended (exit {code})")

    async def _answer(self, line: bytes) -> bytes:
        assert self.process.stdin is not None  # noqa: S101  (a pipe)
        await self.process.stdin.send(line + b"\n")
        return await self._answers.receive_until(b"\n", _LONGEST_LINE)

    async def _ask(self, line: bytes, within: float) -> bytes:
        try:
            with anyio.fail_after(within):
                async with self._turn:
                    return await self._answer(line)
        except TimeoutError:
            raise LinkLost(f"the link to the API did not answer in {within:g} s") from None
        except (
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            anyio.EndOfStream,
            anyio.IncompleteRead,
            OSError,
        ):
            raise LinkLost("the link to the API ended") from None


@contextlib.asynccontextmanager
async def open_link(
    port: int, *, round_trip: float, answer_timeout: float = 30.0
) -> AsyncIterator[FarLink]:
    """Start a link to a port of this machine, ``round_trip`` seconds long; end it afterwards.

    Raises LinkLost, which says how it failed.
    """
    command = [sys.executable, "-m", "syncer.bench.link"]
    process = await anyio.open_process(command, stderr=None, env=bare_environment())
    async with process:
        try:
            link = FarLink(process, answer_timeout=answer_timeout)
            await link.open(LinkOptions(port=port, round_trip=round_trip))
            yield link
        finally:
            if process.returncode is None:
                process.kill()  # it has nothing to finish, and may be stopped
