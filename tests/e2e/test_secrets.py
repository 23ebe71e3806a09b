"""Secrets are planted wherever one can be; whatever comes out of the program is searched for them.

What comes out: stdout, stderr, log lines in both formats, and all that is in the database.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import anyio
import pytest
import structlog
from aiohttp import web
from anyio.abc import ByteStream, SocketAttribute

from syncer import log
from syncer.cli.sync import summary
from syncer.core.errors import ConfigError
from syncer.secrets import remember
from syncer.store.connection import Server
from tests.support import logged

pytestmark = pytest.mark.any_server

ACCESS = "aK/s3cr3t+Qz81=V~mt"
TOKEN = "eyJ0b2tlbiI6.Zm/9+tq-W_x7"
TERRAFORM = "tF-pa55/word+Lx29qQ"
FILE = "fIl3/held+Secr3t~88"
DATABASE = 'dB p"ss/w0rd+é@7:x'
LIBPQ = "lIbpq'Pa55\\word/31+ü"
PROXY = "pR0xy:pw/d+77@hm"
COLLECTOR = "cOll3ctor/k3y+55=="
SECRETS = (ACCESS, TOKEN, TERRAFORM, FILE, DATABASE, LIBPQ, PROXY, COLLECTOR)
NOTHING = {"ZENLAYER_ACCESS_KEY_SECRET": "", "ZENLAYER_ACCESS_KEY_ID": ""}


def spellings(secret: str) -> Iterator[str]:
    """What a secret looks like when it has come through something."""
    raw = secret.encode()
    yield from (secret, repr(secret)[1:-1], repr(raw)[2:-1], json.dumps(secret)[1:-1])
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret))
    for login in ("", "u:", "me:", "abc:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(login.encode() + raw).decode().rstrip("=")


def leaks(said: str) -> list[str]:
    """The secrets that a text holds."""
    return [s for s in SECRETS if any(spelt.lower() in said.lower() for spelt in spellings(s))]


async def everything(db: Any) -> str:
    """Every row of every table."""
    tables = await db.fetch("select tablename from pg_tables where schemaname = 'syncer_store'")
    rows = [str(row) for (name,) in tables for row in await db.fetch(f"table syncer_store.{name}")]
    assert rows
    return "\n".join(rows)


@contextlib.asynccontextmanager
async def api(answer: Any) -> AsyncIterator[str]:
    """An API with answers of our own."""
    app = web.Application()
    app.router.add_post("/api/v2/{service}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("style", ["json", "console"])
def test_whatever_is_logged(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret in a value, in what it holds, in a traceback, in a library's words: starred."""
    remember(DATABASE)
    with logged(style) as text:
        handlers, logging.root.handlers[:] = logging.root.handlers[:], []
        with contextlib.redirect_stderr(text):
            log.configure(style, "debug")
        try:
            int(DATABASE)
        except ValueError:
            structlog.get_logger().exception(
                "seen", held=[{"x": (f"a {DATABASE}",)}, OSError(DATABASE)]
            )
            logging.getLogger("asyncio").exception("seen %s", f"by {quote(DATABASE)}")
        finally:
            logging.root.handlers[:] = handlers
    said = text.getvalue()
    assert [] == leaks(said)
    assert 5 == said.count("***")
    assert 2 == said.count("Traceback")
    if style == "json":
        lines = [json.loads(line) for line in said.splitlines()]
        assert ["seen", "seen by ***"] == [line["event"] for line in lines]


def echo(request: web.Request, secret: str) -> str:
    """What a server that repeats all it was sent says of a request."""
    spelled = " ".join(spellings(secret))
    return f"refused {dict(request.headers)!r} {spelled} {quote(str(dict(request.headers)))}"


KINDS = ("refused", "failed", "coded", "shaped", "long", "html", "rows")


def _failure(kind: str, said: str) -> web.Response:
    body: dict[str, Any] = {"requestId": said, "code": f"NO_{said}", "message": said}
    if kind == "long":  # cut in the middle of a word, which is not known for what it is then
        body["message"] = f"{'x ' * 240}{said}"
    if kind == "shaped":
        body = {"requestId": said, "response": {said: said, "totalCount": said, "dataSet": said}}
    if kind == "rows":
        rows = [{"imageId": said + "\0"}, {"imageId": [said]}, said]
        body = {"requestId": "r", "response": {"totalCount": 3, "dataSet": rows}}
    if kind == "html":
        return web.Response(status=502, text=f"<p>{said}</p>", content_type="text/html")
    statuses = {"failed": 500, "coded": 200, "shaped": 200, "rows": 200}
    return web.json_response(body, status=statuses.get(kind, 400))


@pytest.mark.parametrize("style", ["json", "console"])
async def test_an_api_that_repeats_what_it_was_sent(
    style: str, environment: dict[str, str], sync: Any, db: Any
) -> None:
    """No error of a zone, of whatever kind, brings a secret into the log or the database."""
    sent = {"ZENLAYER_TOKEN": TOKEN, "ZENLAYERCLOUD_ACCESS_KEY_PASSWORD": TERRAFORM}
    planted = {**sent, "ZENLAYER_ACCESS_KEY_SECRET": ACCESS, "ZENLAYERCLOUD_ACCESS_KEY_ID": "tf"}
    zones = [f"{kind}-{n}" for kind in KINDS for n in range(3)]

    async def answer(request: web.Request) -> web.Response:
        if request.headers["X-ZC-Action"] == "DescribeZones":
            listed = [{"zoneId": zone, "zoneName": zone} for zone in zones]
            return web.json_response({"requestId": "r", "response": {"zoneSet": listed}})
        kind, n = (await request.json())["zoneId"].split("-")
        return _failure(kind, echo(request, (TOKEN, ACCESS, TERRAFORM)[int(n)]))

    async with api(answer) as endpoint:
        with logged(style) as text:
            report = await sync(ZENLAYER_ENDPOINT=endpoint, **planted)

    said = text.getvalue() + summary(report, dry_run=False) + str(report) + await everything(db)
    assert [] == leaks(said)
    assert said.count("***") > 100
    assert len(zones) == text.getvalue().count("zone.failed")
    assert TOKEN[:8] not in said


async def test_an_api_that_refuses_us_in_our_own_words(
    environment: dict[str, str], sync: Any, syncer: Any, db: Any
) -> None:
    """A refusal ends the run: its words are on stderr and in the run's row, without the token."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(
            {"code": "AUTHFAILURE", "message": echo(request, TOKEN), "requestId": TOKEN}, status=401
        )

    async with api(answer) as endpoint:
        env = {**NOTHING, "ZENLAYER_TOKEN": TOKEN, "ZENLAYER_ENDPOINT": endpoint}
        done = await syncer("sync", **env, SYNCER_LOG_LEVEL="debug")

    assert 1 == done.code
    assert "refused the credentials" in done.err
    assert [] == leaks(done.out + done.err + await everything(db))
    assert "Bearer ***" in await db.fetchval("select error_message from syncer.runs")


@contextlib.asynccontextmanager
async def server(reply: bytes) -> AsyncIterator[int]:
    """A TCP server that answers anything with the same bytes; its port."""

    async def answer(stream: ByteStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, OSError):
                await stream.receive()
                await stream.send(reply)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610  (no Django)
        tasks.cancel_scope.cancel()


async def test_a_proxy_that_refuses(
    environment: dict[str, str], sync: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's refusal repeats its URL and what it was sent; neither is repeated."""
    basic = base64.b64encode(f"u:{PROXY}".encode()).decode()
    reply = f"HTTP/1.1 407 who is {basic} {quote(PROXY, safe='')}\r\nContent-Length: 0\r\n\r\n"
    async with server(reply.encode()) as port:
        for host, retries in ((f"127.0.0.1:{port}", 0), ("127.0.0.1:1", 6)):  # there is nobody
            monkeypatch.setenv("https_proxy", f"http://u:{quote(PROXY, safe='')}@{host}")
            with logged("json") as text:
                report = await sync(ZENLAYER_ENDPOINT="https://api.invalid", ZENLAYER_TOKEN=TOKEN)
            said = text.getvalue() + summary(report, dry_run=False) + await everything(db)
            assert [] == leaks(said)
            assert 1 == report.exit_code
            assert retries == said.count('"call.retried"')


def _refusal(message: str) -> bytes:
    """An ErrorResponse of PostgreSQL's protocol."""
    fields = b"".join(
        code + text.encode() + b"\0"
        for code, text in (
            (b"S", "FATAL"), (b"V", "FATAL"), (b"C", "28P01"), (b"M", message), (b"D", message)
        )
    )  # fmt: skip
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


async def test_a_database_that_refuses_in_our_own_words(
    environment: dict[str, str], syncer: Any
) -> None:
    """A server, or a pooler before it, that quotes the password: from the URL, from PGPASSWORD."""
    words = [f"no {spelt}" for secret in (DATABASE, LIBPQ) for spelt in spellings(secret)]
    async with server(_refusal(" ".join(words))) as port:
        url = f"postgresql://u:{quote(DATABASE, safe='')}@127.0.0.1:{port}/d?sslmode=disable"
        libpq = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "u", "PGSSLMODE": "disable"}
        with_url = {"SYNCER_DATABASE_URL": url, "PGPASSWORD": LIBPQ}
        without = {"SYNCER_DATABASE_URL": "", **libpq, "PGPASSWORD": LIBPQ}
        both = without | {"SYNCER_DATABASE_URL": url.replace("?", f"?password={quote(LIBPQ)}&")}
        for command, env in (
            (("runs",), with_url), (("db", "status"), without), (("images",), both)
        ):  # fmt: skip
            done = await syncer(*command, **env)
            assert 2 == done.code
            assert "refused: no ***" in done.err
            assert [] == leaks(done.out + done.err)
        with pytest.raises(ConfigError) as caught:
            await Server(url).connect()
        assert [] == leaks(str(caught.value))


def test_a_bug_prints_a_traceback_without_secrets() -> None:
    """An error that nobody named quotes the DSN."""
    code = (
        "import sys; from syncer import cli, secrets\n"
        f"secrets.remember({DATABASE!r}); sys.excepthook = cli._print_redacted_traceback\n"
        f"raise RuntimeError('cannot reach {DATABASE}')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert 1 == done.returncode
    assert "RuntimeError: cannot reach ***" in done.stderr
    assert [] == leaks(done.stderr)


async def test_an_unforeseen_error_of_the_database_is_one_line_without_secrets(
    syncer: Any, db: Any, environment: dict[str, str], url: str
) -> None:
    """A trigger quotes the DSN, in its text and its detail."""
    dsn = f"postgresql://u:{quote(DATABASE, safe='')}@h/d"
    await db.execute(f"""
        create function fail() returns trigger language plpgsql as $$
        begin raise '%', 'cannot reach {dsn}' using detail = '{DATABASE}'; end $$;
        create trigger fail before insert on syncer_store.zones
            for each statement execute function fail()""")
    scheme, _, rest = url.partition("syncer@")
    login = f"{scheme}syncer:{quote(DATABASE, safe='')}@{rest}"

    done = await syncer("sync", SYNCER_DATABASE_URL=login, SYNCER_LOG_LEVEL="debug")

    assert 1 == done.code
    said = done.err.splitlines()[-1]
    assert "refused: cannot reach postgresql://u:***@h/d DETAIL: *** (SQLSTATE P0001)" in said
    assert [] == leaks(done.out + done.err + await everything(db))


@pytest.fixture
def planted(tmp_path: Path, environment: dict[str, str], url: str) -> dict[str, str]:
    """An environment with a secret in every place that can hold one."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "zenlayer_access_key_secret").write_text(f"{ACCESS}\n")
    (tmp_path / "syncer.toml").write_text(f"zenlayercloud_access_key_password = {FILE!r}\n")
    scheme, _, rest = url.partition("syncer@")
    return {
        **environment,
        "ZENLAYER_ACCESS_KEY_ID": "key",
        "ZENLAYER_ACCESS_KEY_SECRET": "",
        "ZENLAYER_TOKEN": "test-token",
        "CREDENTIALS_DIRECTORY": str(credentials),
        "SYNCER_CONFIG": str(tmp_path / "syncer.toml"),
        "SYNCER_DATABASE_URL": f"{scheme}syncer:{quote(DATABASE, safe='')}@{rest}",
        "PGPASSWORD": LIBPQ,
        "HTTPS_PROXY": f"http://u:{quote(PROXY, safe='')}@127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={quote(COLLECTOR)},authorization=Basic {COLLECTOR}",
        "SYNCER_LOG_LEVEL": "debug",
    }


GOOD = [
    ("zones", "-o", "table"),
    ("runs", "-o", "csv"),
    ("images", "--limit", "1"),
    ("db", "status"),
    ("db", "url"),
    ("sync", "--help"),
]


async def test_commands_that_end_well(planted: dict[str, str], syncer: Any, db: Any) -> None:
    """Whatever is printed where all goes well, in either format of the log, holds no secret."""
    plain = await syncer("sync", **planted, SYNCER_LOG_FORMAT="json")
    pretty = await syncer("sync", "--dry-run", **planted, SYNCER_LOG_FORMAT="console")
    others = [await syncer(*command, **planted) for command in GOOD]
    for done in (plain, pretty, *others):
        assert (0, []) == (done.code, leaks(done.out + done.err)), done
    assert "zone.written" in plain.err
    assert "zone.written" in pretty.err
    assert all(done.out for done in others)
    assert "syncer:***@" in others[4].out
    assert [] == leaks(await everything(db))


BAD = {
    "no URL of a database": {"SYNCER_DATABASE_URL": f"postgresql://u:{DATABASE}@h/d"},
    "no option of a database": {
        "SYNCER_DATABASE_URL": f"postgresql://u:{quote(DATABASE)}@h/d?sslmode={quote(DATABASE)}"
    },
    "no port of a database": {
        "SYNCER_DATABASE_URL": f"postgresql://u:{quote(DATABASE)}@h:1,h:x/d?password={quote(LIBPQ)}"
    },
    "nobody there": {
        "SYNCER_DATABASE_URL": f"postgresql://u:{quote(DATABASE, safe='')}@127.0.0.1:1/d"
    },
    "no endpoint": {"ZENLAYER_ENDPOINT": f"https://u:{quote(ACCESS)}@api.invalid"},
    "no token": {"ZENLAYER_TOKEN": f"{TOKEN}\x07"},
    "half a pair": {"ZENLAYER_TOKEN": "", "ZENLAYER_ACCESS_KEY_ID": ""},
    "no proxy": {
        "HTTPS_PROXY": f"http://u:{PROXY}@127.0.0.1:x",
        "ZENLAYER_ENDPOINT": "https://api.invalid",
    },
    "no file": {"toml": f"token = {TOKEN}\n"},
    "no option": {"toml": f'zenlayer_tokken = "{TOKEN}"\nmax_rate = "{ACCESS}"\n'},
    "no number": {"SYNCER_MAX_RATE": "x", "SYNCER_PAGE_SIZE": "y"},
}


@pytest.mark.parametrize("case", BAD)
async def test_commands_that_cannot_begin(
    syncer: Any, case: str, planted: dict[str, str], tmp_path: Path
) -> None:
    """What is wrong with the settings is said without any of the secrets among them."""
    changes = dict(BAD[case])
    if text := changes.pop("toml", None):
        (tmp_path / "syncer.toml").write_text(text)
    command = "sync" if case == "half a pair" else "images"  # which needs none
    done = await syncer(command, **planted | changes)
    assert (True, []) == (done.code in {1, 2}, leaks(done.out + done.err)), done
    assert done.err.startswith("syncer: "), done
