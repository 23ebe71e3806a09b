"""What stands between us and the API in companies: proxies, gateways, inspection, portals."""

from __future__ import annotations

import asyncio
import base64
import gzip
from functools import partial
from pathlib import Path

import anyio
import pytest
import trustme

from syncer.core.errors import ApiError, NetworkDenied, Refused, Unreachable
from syncer.secrets import Secret
from syncer.zenlayer.credentials import Access, Timing
from syncer.zenlayer.transport import MAX_LINE, UNTRUSTED, greet, open_transport
from tests.support import naming
from tests.zenlayer.raw import OK, VM, failure, listening, post, post_to, proxying, serving

PAGE = b"Content-Length: 20\r\nContent-Type: text/html\r\n\r\n<html>No way!</html>"
API = "https://api.invalid"
HEAD = b"HTTP/1.1 200 OK\r\n"


def login_of(head: str) -> bytes:
    (line,) = [line for line in head.split("\r\n") if line.startswith("Proxy-Authorization: ")]
    return base64.b64decode(line.removeprefix("Proxy-Authorization: Basic "))


# Gateways ---------------------------------------------------------------------------------------


async def test_what_gateways_write_is_read() -> None:
    """Old versions, interim answers, chunks with trailers, packed in their way, long heads."""
    packed = gzip.compress(b"{}")
    policy = b"Content-Security-Policy: " + b"x" * (MAX_LINE - 100) + b"\r\n"
    cookies = b"".join(b"Set-Cookie: c%d=%s\r\n" % (n, b"y" * 4000) for n in range(16))
    short = b"Set-Cookie: a=b\r\n" * 500
    end = b"Content-Length: 2\r\n\r\n{}"
    cases = {
        "HTTP/1.0 without a length": b"HTTP/1.0 200 OK\r\n\r\n{}",
        "interim answers": b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Early\r\nLink: </>\r\n\r\n" + OK,
        "chunks with trailers": HEAD
        + b"Transfer-Encoding: chunked\r\nTrailer: Check\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\n"
        b"Check: 1\r\n\r\n",
        "packed, shouted": HEAD
        + b"Content-Encoding: GZIP\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed),
        "packed, in two lines": HEAD
        + b"Content-Encoding: x-gzip\r\nContent-Encoding: identity\r\nContent-Length: %d\r\n\r\n%s"
        % (len(packed), packed),
        "packed, unsaid": HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(packed), packed),
        "said to be packed": HEAD + b"Content-Encoding: br\r\n" + end,
        "nothing said": HEAD + b"Content-Encoding:\r\n" + end,
        "a long policy": HEAD + policy + end,
        "many cookies": HEAD + cookies + end,
        "very many cookies": HEAD + short + end,
    }
    for case, reply in cases.items():
        with naming(case):
            async with serving(reply, close=True) as server:
                assert b"{}" == (await post_to(server.url))[2]
            (head,) = server.requests
            assert "\r\nAccept-Encoding: gzip\r\n" in head


async def test_connections_that_were_closed_while_idle_harm_nothing() -> None:
    """A proxy that closes what it finds idle: the next call opens another."""
    async with serving(OK, close=True) as server, open_transport(Access(endpoint=server.url)) as it:
        for calls in (1, 2, 3):
            assert 200 == (await post(it))[0]
            assert calls == server.connections
            await asyncio.sleep(0)  # so that the end of the connection is seen


async def test_what_no_parser_reads_is_refused_for_good() -> None:
    """It is named as what it is, by one line, and asked for once; so is packing of other kinds."""
    cases = {
        "a line too long": HEAD + b"X: " + b"x" * (MAX_LINE + 9) + b"\r\n\r\n",
        "a name with a blank": HEAD + b"A B: c\r\n\r\n",
        "a control character": HEAD + b"A: \x00\r\n\r\n",
        "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "a length that is none": HEAD + b"Content-Length: two\r\n\r\n{}",
        "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
        "no status": b"HTTP/1.1 OK\r\n\r\n",
    }
    for case, reply in cases.items():
        with naming(case):
            async with serving(reply, close=True) as server:
                error = await failure(server.url)
            assert (Refused, "BAD_HTTP") == (type(error), error.code)
            assert "is no HTTP that can be read (" in error.message
            assert "\n" not in error.message
            if case == "a line too long":
                assert "a line of its head is longer than 65536 bytes" in error.message
    async with serving(
        HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n\x8b\x00"
    ) as server:
        assert "UNKNOWN_ENCODING" == (await failure(server.url)).code


async def test_a_pause_is_counted_from_our_clock_where_the_server_shows_none() -> None:
    """Retry-After as a date in a reply without Date: the moment of its arrival stands in for it."""
    for date, shown in (("", True), ("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", False)):
        reply = f"HTTP/1.1 503 No\r\nRetry-After: Sun Nov  6 08:49:37 2094\r\n{date}"
        async with serving(f"{reply}Content-Length: 0\r\n\r\n".encode()) as server:
            _, headers, _ = await post_to(server.url)
        assert shown == ("1994" not in headers["date"])


# Proxies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("user:pr0xy-pass", b"user:pr0xy-pass"),
        ("user:%D0%BF%D0%B0%D1%80%D0%BE%D0%BB%D1%8C", "user:пароль".encode()),
        ("иван:%E2%82%AC", "иван:€".encode()),
        ("DOM%5Cu%40corp:a%3Ab%2Fc%25", rb"DOM\u@corp:a:b/c%"),
        ("u:%E4", b"u:\xe4"),
        ("key", b"key:"),
    ],
)
async def test_a_login_reaches_the_proxy_byte_for_byte(written: str, sent: bytes) -> None:
    """UTF-8 where it was written as it is, else the very bytes that were percent-encoded."""
    async with proxying(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        await failure(API, proxy=proxy.at(written))
    (head,) = proxy.heads
    assert head.startswith("CONNECT api.invalid:443 HTTP/1.1\r\n")
    assert sent == login_of(head)


async def test_a_call_goes_through_a_proxy(authority: trustme.CA) -> None:
    """By http:// and by https://, with its login, which the API is not shown."""
    for tls in (None, authority):
        async with (
            serving(OK, authority=authority) as server,
            proxying(target=server.url, authority=tls) as proxy,
        ):
            access = Access(endpoint=server.url, proxy=proxy.at("u:пароль"))
            async with open_transport(access) as transport:
                for _ in range(2):
                    assert 200 == (await post(transport))[0]
            assert 200 == (await greet(access, VM)).status
        assert [b"u:\xd0\xbf\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c"] * 2 == [
            login_of(head) for head in proxy.heads
        ]
        assert "proxy-auth" not in "".join(server.requests).lower()


async def test_a_refused_login_is_tried_once_by_all_accounts() -> None:
    """Sixteen calls of each of two accounts, and those after: one CONNECT, as more lock accounts.

    Where the pause is over it is tried again, once.
    """
    reply = b"HTTP/1.1 407 pr0xy-pass\r\nProxy-Authenticate: Basic realm=x\r\n" + PAGE
    async with proxying(reply) as proxy:
        access = Access(endpoint=API, proxy=proxy.at("user:pr0xy-pass"))
        async with open_transport(access) as one, open_transport(access) as other:
            calls = [post(each) for each in (one, other) for _ in range(16)]
            errors: list[object] = [*await asyncio.gather(*calls, return_exceptions=True)]
            errors += await asyncio.gather(post(one), greet(access, VM), return_exceptions=True)
        assert 1 == len(proxy.heads)
        for error in errors:
            assert isinstance(error, NetworkDenied)
            assert "PROXY_LOGIN" == error.code
            assert "the proxy refused the login (HTTP 407): correct user name and" in error.message
            assert "pr0xy" not in error.message
        assert "not asked again for 15 min, as that locks accounts" in str(errors[-1])
        await failure(API, proxy=access.proxy, timing=Timing(proxy_login=0.0))
        assert 2 == len(proxy.heads)
        await failure(API, proxy=proxy.at("user:corrected"))
        assert 3 == len(proxy.heads)


@pytest.mark.parametrize(("endpoint", "status"), [(API, 502), ("http://api.invalid", 200)])
async def test_calls_wait_for_the_first_past_a_login_only(endpoint: str, status: int) -> None:
    """Once one got past it, others go side by side; a login that is refused later is tried once."""
    asked, together = 0, asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        if asked == 4:
            together.set()
        if asked > 1:
            await together.wait()
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    async with listening(answer) as url:
        call = partial(post_to, endpoint, proxy=Secret(url.replace("//", "//u:p@")))
        with anyio.fail_after(10):
            ends: list[object] = [*await asyncio.gather(call(), return_exceptions=True)]
            ends += await asyncio.gather(*(call() for _ in range(3)), return_exceptions=True)
        assert [Unreachable if status == 502 else tuple] * 4 == [type(end) for end in ends]
        status = 407  # to CONNECT, or as a reply like any other
        for _ in range(3):
            with pytest.raises(NetworkDenied, match="the proxy refused the login"):
                await call()
        assert 5 == asked


DIGEST = b"Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n"
REFUSALS: dict[str, tuple[bytes, type[ApiError], str, str]] = {
    "no login": (b"407 No\r\n", NetworkDenied, "PROXY_LOGIN", "write HTTPS_PROXY=http://USER:PASS"),
    "other logins": (
        b"407 No\r\n" + DIGEST,
        NetworkDenied,
        "PROXY_LOGIN",
        "it takes negotiate or ntlm only, which is not spoken here",
    ),
    "forbidden": (
        b"403 No\r\n",
        NetworkDenied,
        "PROXY_REFUSED",
        "to connect to api.invalid: HTTP 403",
    ),
    "no proxy": (b"405 No\r\n", NetworkDenied, "PROXY_REFUSED", "HTTP 405; check HTTPS_PROXY"),
    "a portal": (b"302 No\r\nLocation: /\r\n", NetworkDenied, "PROXY_REFUSED", "HTTP 302"),
    "bad gateway": (b"502 No\r\n", Unreachable, "PROXY_FAILED", "HTTP 502; check HTTPS_PROXY"),
    "busy": (b"503 No\r\nRetry-After: 7\r\n", Unreachable, "PROXY_FAILED", "HTTP 503"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_what_a_proxy_answers_to_connect_is_named(case: str) -> None:
    """What may be otherwise next time is retried; a rule or a login ends the run at once."""
    reply, kind, code, words = REFUSALS[case]
    async with proxying(b"HTTP/1.1 " + reply + PAGE) as proxy:
        error = await failure(API, proxy=Secret(proxy.url))
    assert (kind, code) == (type(error), error.code)
    assert words in error.message
    if isinstance(error, Unreachable):
        assert error.after == (7.0 if case == "busy" else None)


async def test_a_proxy_that_is_not_there_is_named() -> None:
    """Nobody at its port, no such name, or nobody who answers: without its password."""
    async with proxying() as proxy:
        pass
    for url in (proxy.at("u:pr0xy-pass"), Secret("https://u:pr0xy-pass@proxy.invalid:3128")):
        error = await failure(API, proxy=url)
        assert (Unreachable, "PROXY_UNREACHABLE") == (type(error), error.code)
        assert "the proxy cannot be reached" in error.message
        assert "pr0xy" not in error.message

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(say_nothing) as mute:
        error = await failure(API, proxy=Secret(mute), request_timeout=0.1)
    assert "api.invalid did not answer in 0.1 s through the proxy" == error.message


# TLS --------------------------------------------------------------------------------------------


async def test_who_speaks_no_tls_is_named_and_asked_once(authority: trustme.CA) -> None:
    """A proxy or an endpoint by https:// at whose port plain HTTP, or anything else, is spoken."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 No\r\n\r\n")
        writer.close()

    async with listening(answer) as url:
        secure = url.replace("http:", "https:")
        for error, advice in (
            (await failure(secure), "check the port in ZENLAYER_ENDPOINT"),
            (await failure(API, proxy=Secret(secure)), "write HTTPS_PROXY=http://..."),
        ):
            assert (Refused, "NO_TLS") == (type(error), error.code)
            assert advice in error.message


async def test_inspection_by_another_authority_is_named(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose certificate it is, the endpoint's or the proxy's; a folder of roots may be named."""
    stranger = trustme.CA()
    async with serving(OK, authority=stranger) as server:
        async with proxying(target=server.url) as proxy:
            error = await failure(server.url, proxy=Secret(proxy.url))
            assert UNTRUSTED == error.code
            assert f"certificate that {server.url[8:]} shows is not trusted" in error.message
        async with proxying(authority=stranger) as proxy:
            error = await failure(API, proxy=Secret(proxy.url))
            assert UNTRUSTED == error.code
            assert "certificate that the proxy 127.0.0.1 shows is not trusted" in error.message
        folder = tmp_path / "roots"
        folder.mkdir()
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        assert UNTRUSTED == (await failure(server.url)).code
