"""What the doctor's tests look for in its findings, and a server with one answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from syncer.doctor.finding import Finding

RunChecks = Callable[..., Awaitable[list[Finding]]]
PLANTED = "s3cr3t-Pl4nted"
OF_THE_API = {"endpoint", "clock", "credentials"}
STORED = {
    "sequences",
    "time_line",
    "lock",
    "runs",
    "zones",
    "gone_zones",
    "listing",
    "withheld",
    "rate_limit",
    "keys",
    "history",
    "workers",
}
OF_THE_SERVER = {"encoding", "session", "connections", "database_clock"}
OF_THE_DATABASE = {"database", "schema", "extension", "privileges"} | OF_THE_SERVER | STORED


def problems(findings: list[Finding]) -> list[Finding]:
    return [found for found in findings if found.status in {"warning", "failed"}]


def only(findings: list[Finding], check: str, status: str, says: str, *advises: str) -> Finding:
    """The one problem found: which, how bad, in what words, with what advice."""
    found, *others = problems(findings)
    assert [] == others
    assert (check, status) == (found.check, found.status), found
    assert says in found.message
    assert found.advice is not None
    for advice in advises:
        assert advice in found.advice
    return found


def skipped_checks(findings: list[Finding]) -> set[str]:
    return {found.check for found in findings if found.status == "skipped"}


def of(findings: list[Finding], check: str) -> Finding:
    (found,) = [found for found in findings if found.check == check]
    return found


@contextlib.asynccontextmanager
async def answering(reply: bytes, requests: list[bytes] | None = None) -> AsyncIterator[str]:
    """A server that gives the same answer to whoever asks; ``requests`` gets what they sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reply:
            head = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(head)
            writer.write(reply)
            await writer.drain()
        else:
            await reader.read()  # until who asked gives up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
