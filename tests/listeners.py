"""What a port may lead to in place of PostgreSQL, and PostgreSQL behind TLS."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SSL_REQUEST = b"\x04\xd2\x16\x2f"


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """Let something talk to whoever connects; yield the port. It hangs up in the end."""
    talking: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)


def says(*answers: bytes, tls: bytes = b"N") -> Talk:
    """Answer each message with the next bytes (the wish for TLS with ``tls``), then hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            message = await reader.read(1000)
            if message[4:8] == SSL_REQUEST:
                writer.write(tls)
                if tls != b"N":
                    break
                await reader.read(1000)
            writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read(1000)

    return talk


def message(kind: bytes, body: bytes) -> bytes:
    """A message of the server's."""
    return kind + (len(body) + 4).to_bytes(4) + body


def refusal(sqlstate: str, words: str) -> bytes:
    """The server's last words."""
    return message(b"E", f"SFATAL\0VFATAL\0C{sqlstate}\0M{words}\0\0".encode())


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take all that comes, and say nothing."""
    while await reader.read(1000):
        pass


def tls_to(socket: str, context: ssl.SSLContext, *, plain: bool = True) -> Talk:
    """Be PostgreSQL with TLS, before a server's socket; ``plain``: also without."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        server_reader, server = await asyncio.open_unix_connection(socket)
        try:
            if first[4:] == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
            elif plain:
                server.write(first)
            else:
                return
            both = (_pass(reader, server), _pass(server_reader, writer))
            await asyncio.wait(map(asyncio.ensure_future, both), return_when="FIRST_COMPLETED")
        finally:
            server.transport.abort()

    return talk


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


class Certificates:
    """Two authorities, and what they made, in a folder: NAME.crt and NAME.key."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("openssl")
        if program is None:
            pytest.skip("openssl is not installed")
        self.folder, self._program = folder, program
        for name in ("ca", "other"):
            self._request(name, "-x509", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._sign("server", "ca", "DNS:localhost")
        self._sign("expired", "ca", "DNS:localhost", days="-1")
        self._sign("client", "ca", "DNS:someone")
        self._sign("stranger", "other", "DNS:someone")
        locked = ("ec", "-aes128", "-passout", "pass:s3cr3t-0f-key", "-in", "client.key")
        self._openssl(*locked, "-out", "locked.key")
        (folder / "index").touch()
        (folder / "number").write_text("01")
        (folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n"
            "default_crl_days=9\nprivate_key=ca.key\ncertificate=ca.crt\n"
        )
        authority = ("ca", "-config", "ca.cnf")
        self._openssl(*authority, "-gencrl", "-out", "none.crl")
        self._openssl(*authority, "-revoke", "server.crt")
        self._openssl(*authority, "-gencrl", "-out", "server.crl")
        for key in folder.glob("*.key"):
            key.chmod(0o600)
        self._copy("client.key", "open.key", 0o644)
        (folder / "both.pem").write_bytes(self.read("client.crt") + self.read("client.key"))
        (folder / "both.pem").chmod(0o600)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def _copy(self, name: str, to: str, mode: int) -> None:
        shutil.copy(self.folder / name, self.folder / to)
        (self.folder / to).chmod(mode)

    def server(self, name: str, *, asks: bool = False) -> ssl.SSLContext:
        """The server's side; ``asks``: for a certificate of the client's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if asks:
            context.load_verify_locations(self.folder / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _request(self, name: str, *more: str) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        out = f"{name}.crt" if "-x509" in more else f"{name}.csr"
        files = ("-keyout", f"{name}.key", "-out", out)
        self._openssl("req", *curve, *files, "-subj", f"/CN={name}", *more)

    def _sign(self, name: str, authority: str, names: str, *, days: str = "9") -> None:
        self._request(name)
        (self.folder / "names").write_text(f"subjectAltName={names}\n")
        by = ("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial")
        files = ("-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", "names")
        self._openssl("x509", "-req", *files, *by, "-days", days)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            [self._program, *arguments], cwd=self.folder, check=True, capture_output=True
        )
