"""The API: whether it is reached, trusted, in time, and takes our credentials."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.doctor import api
from syncer.simulator import Simulator, World
from tests.conftest import KEY
from tests.doctor.support import (
    PLANTED,
    RunChecks,
    answering,
    of,
    only,
    skipped_checks,
)
from tests.zenlayer.raw import listening


async def test_a_wrong_secret(check: RunChecks) -> None:
    """The API refuses us: which of the settings it was, and where that came from."""
    for name in ("ZENLAYER_ACCESS_KEY_SECRET", "ZENLAYER_TOKEN"):
        findings = await check(**{name: PLANTED})
        only(findings, "credentials", "failed", "AUTHFAILURE", f"({name}, environment)")


async def test_credentials_that_see_nothing(
    check: RunChecks, world: World, simulator: Simulator
) -> None:
    """No zones to be seen, or no calls left: the credentials are not what is wrong."""
    for zone in world.zones():
        world.remove_zone(zone)
    only(await check(), "credentials", "warning", "0 zones of vm", "exit 3")
    simulator.add_fault("throttle")
    only(await check(), "credentials", "warning", "asks for fewer calls", "try again later")
    simulator.clear_faults()
    simulator.add_fault("status=500")
    only(await check(), "credentials", "failed", "DescribeZones failed", "try again")


async def test_a_clock_that_is_off_by_an_hour(check: RunChecks, simulator: Simulator) -> None:
    """What this machine signs has expired; a token does not mind."""
    simulator.skew = 3600.0
    found = only(await check(), "clock", "failed", "60 min behind the API's", "timedatectl")
    assert "what it signs has expired" in found.message
    simulator.skew = -3600.0
    findings = await check(ZENLAYER_TOKEN="test-token")
    only(findings, "clock", "warning", "60 min ahead of the API's", "timedatectl")


async def test_an_endpoint_where_nobody_listens(check: RunChecks) -> None:
    """Connection refused: what needs the API is skipped."""
    findings = await check(ZENLAYER_ENDPOINT="http://127.0.0.1:1")
    only(findings, "endpoint", "failed", "127.0.0.1:1 cannot be reached", "ZENLAYER_ENDPOINT")
    assert {"credentials"} == skipped_checks(findings)


DAY = 86400.0
PORTAL = b"<html>Log in to the network</html>"


OTHERS = {
    "a portal": (b"200 OK", b"Content-Type: text/html", PORTAL, "is not the API", "portal"),
    "a stranger": (b"404 Not Found", b"X-A: b", PORTAL, "is not the API", "ZENLAYER_ENDPOINT"),
    "a redirect": (b"302 Found", b"Location: /x", b"", "redirect", "ZENLAYER_ENDPOINT"),
    "a challenge": (b"403 Forbidden", b"cf-mitigated: challenge", b"", "browser challenge", "ask"),
    "a block": (b"451 No", b"X-A: b", b"", "blocked this address", "an address that is let in"),
    "a login": (b"511 No", b"X-A: b", PORTAL, "asks for a login first", "runs the network"),
    "an outage": (b"503 Unavailable", b"X-A: b", b"", "HTTP 503", "try again"),
}


async def test_something_else_answers(check: RunChecks) -> None:
    """What answers is not the API, or does not let us in: no credentials are sent there."""
    requests: list[bytes] = []
    for case, (status, header, body, says, advises) in OTHERS.items():
        head = b"HTTP/1.1 %s\r\n%s\r\nContent-Length: %d\r\n\r\n" % (status, header, len(body))
        async with answering(head + body, requests) as endpoint:
            findings = await check(ZENLAYER_ENDPOINT=endpoint)
        found = of(findings, "endpoint")
        assert ("failed", True, True) == (
            found.status,
            says in found.message,
            advises in (found.advice or ""),
        ), (case, found)
        assert {"credentials"} == skipped_checks(findings)
    assert len(OTHERS) == len(requests)
    for request in requests:
        assert KEY not in request.decode()
        assert b"authorization" not in request.lower()


@contextlib.asynccontextmanager
async def over_tls(
    simulator: Simulator, folder: Path, days: int
) -> AsyncIterator[tuple[str, Path]]:
    """The simulator behind TLS, with a certificate of its own that is good for some days."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    options = f"-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days}"
    names = ["-subj", "/O=Test Authority", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    await anyio.run_process([program, "req", *options.split(), *names, *files])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    sink.write(data)
            sink.close()

        answers, requests = await asyncio.open_connection(simulator.host, simulator.port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carry, reader, requests)
            tasks.start_soon(carry, answers, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}", certificate


async def test_no_call_is_made_again_to_who_is_not_trusted(
    sync: Any, simulator: Simulator, tmp_path: Path
) -> None:
    """A run says so at once."""
    async with over_tls(simulator, tmp_path, days=5) as (endpoint, _):
        report = await sync(ZENLAYER_ENDPOINT=endpoint)
    assert (1, "UNTRUSTED", 0) == (report.exit_code, report.fault.code, report.counts.retries)


async def test_a_certificate_that_is_not_trusted(
    check: RunChecks, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Untrusted: skipped what needs it. Trusted by SSL_CERT_FILE: good, but not for long."""
    async with over_tls(simulator, tmp_path, days=5) as (endpoint, certificate):
        findings = await check(ZENLAYER_ENDPOINT=endpoint)
        only(findings, "tls", "failed", "is not trusted (self-signed", "set SSL_CERT_FILE")
        assert "can be reached" in of(findings, "endpoint").message
        assert {"credentials"} == skipped_checks(findings)

        other = endpoint.replace("localhost", "127.0.0.1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        env = {"SSL_CERT_FILE": str(certificate)}
        only(
            await check(ZENLAYER_ENDPOINT=other, **env), "tls", "failed", "mismatch", "another name"
        )

        findings = await check(ZENLAYER_ENDPOINT=endpoint, **env)
        only(findings, "tls", "warning", "by Test Authority; it expires in 5 d", "renew")
        assert "ok" == of(findings, "credentials").status

    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    findings = await check(SSL_CERT_FILE="/nonexistent.pem")
    only(findings, "SSL_CERT_FILE", "warning", "no file /nonexistent.pem", "unset it")
    findings = await check(SSL_CERT_DIR="/nonexistent")
    only(findings, "SSL_CERT_DIR", "warning", "no folder /nonexistent", "unset it")


async def test_a_proxy_that_refuses(check: RunChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is named, its password is not; so when it is not there."""
    for reply, says, advises in (
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "HTTP 407", "HTTPS_PROXY"),
        (None, "cannot be reached", "HTTPS_PROXY"),
    ):
        async with answering(reply or b"") as proxy:
            login = proxy.replace("//", f"//u:{PLANTED}@")
            monkeypatch.setenv("HTTPS_PROXY", login if reply else f"http://u:{PLANTED}@127.0.0.1:1")
            findings = await check(ZENLAYER_ENDPOINT="https://api.invalid")
        only(findings, "endpoint", "failed", says, advises)
        assert "http://u:***@127.0.0.1:" in of(findings, "HTTPS_PROXY").message
        assert PLANTED not in str(findings)


async def test_a_run_ends_at_once_where_a_proxy_refuses_the_login(
    sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to do, after one attempt for all services: more lock the account."""
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with listening(answer) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("//", f"//u:{PLANTED}@"))
        report = await sync(ZENLAYER_ENDPOINT="https://api.invalid", SYNCER_SERVICES="all")
    assert 1 == connections
    assert (1, "failed", "PROXY_LOGIN", 0) == (
        report.exit_code,
        report.status,
        report.fault.code,
        report.counts.retries,
    )
    assert report.fault.message.startswith(
        "the proxy refused the login (HTTP 407): correct user name and password in HTTPS_PROXY"
    )


@pytest.mark.parametrize(
    ("ahead", "signed", "status"),
    [
        (0.0, True, "ok"),
        (-29.0, True, "ok"),
        (30.0, True, "warning"),
        (-299.0, True, "warning"),
        (300.0, True, "failed"),
        (-300.0, True, "failed"),
        (86400.0, False, "warning"),
        (None, True, "warning"),
    ],
)
def test_the_clock_matters_where_it_is_signed_with(
    ahead: float | None, signed: bool, status: str
) -> None:
    """30 s apart are worth a warning; from 300 s on the API refuses what is signed."""
    assert status == api.judge_clock(ahead, signed=signed).status


def test_a_certificate_is_warned_of_two_weeks_before_it_expires() -> None:
    """Whose it is, and how long it is good for."""
    assert "ok" == api.judge_certificate("h", 15 * DAY, "Some CA").status
    soon = api.judge_certificate("h", 13 * DAY, "Some CA")
    assert ("warning", True) == (soon.status, "by Some CA; it expires in 13 d" in soon.message)
    assert "ok" == api.judge_certificate("h", None, "").status


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        (((("countryName", "US"),), (("organizationName", "Big CA"),)), "Big CA"),
        (((("commonName", "a proxy"),),), "a proxy"),
        ((), "an unnamed authority"),
    ],
)
def test_an_issuer_goes_by_its_organisation(issuer: Any, name: str) -> None:
    """In the form of ssl.SSLSocket.getpeercert."""
    assert name == api.issuer({"issuer": issuer})


def test_why_a_certificate_is_not_trusted_makes_the_advice() -> None:
    """Another name, another time, another authority: each is fixed in another place."""
    for reason, roots, advice in (
        ("Hostname mismatch, certificate is not valid for 'x'.", None, "check ZENLAYER_ENDPOINT"),
        ("certificate has expired", None, "this machine's clock"),
        ("self-signed certificate", None, "set SSL_CERT_FILE"),
        ("unable to get local issuer certificate", "/etc/ca.pem", "to /etc/ca.pem"),
    ):
        assert advice in (
            api.judge_untrusted(f"not trusted ({reason}); if", roots=roots).advice or ""
        )
