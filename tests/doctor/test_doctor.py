"""`syncer doctor` finds what is wrong, and only that, and says what to do about it."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from syncer.cli import cli
from syncer.config.settings import load_with_faults
from syncer.doctor import database as look_at_database
from syncer.doctor import visit
from syncer.doctor.finding import Finding, exit_code
from syncer.doctor.settings import Discretion
from syncer.embedded import EmbeddedPostgres
from syncer.simulator import Simulator, World
from syncer.store import approvals
from syncer.store import connection as database
from syncer.store.connection import sql
from syncer.store.lock import lock_key
from syncer.store.migrate import as_sql, upgrade
from syncer.store.runs import begin
from tests.conftest import _UNSAFE_AND_FAST, KEY, SECRET
from tests.support import Done, rows

Look = Callable[..., Awaitable[list[Finding]]]
PLANTED = "s3cr3t-Pl4nted"


@pytest.fixture
async def role(db: Any) -> AsyncIterator[str]:
    """A login that may do what a sync does, and no more."""
    name = f"syncing_{os.getpid()}"
    await db.execute(sql("schema/roles"))
    await db.execute(f"create role {name} login in role syncer_writer")
    yield name
    await db.execute(f"drop owned by {name}; drop role {name}")


@pytest.fixture
def look(
    environment: dict[str, str], role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Look:
    """Look as the command does; all is well unless a test plants something."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    url = environment["SYNCER_DATABASE_URL"].replace("//syncer@", f"//{role}@")

    async def run(*, max_age: float | None = None, **env: str) -> list[Finding]:
        given = {"SYNCER_DATABASE_URL": url, "TMPDIR": str(tmp_path), **env}
        loaded = load_with_faults({}, {**environment, **given})
        async with visit(loaded, max_age=max_age) as (findings, late):
            assert late == any("no answer in" in found.message for found in findings)
        return findings

    return run


def problems(findings: list[Finding]) -> list[Finding]:
    return [found for found in findings if found.status in {"warning", "failed"}]


def only(findings: list[Finding], check: str, status: str, says: str, advises: str) -> Finding:
    """The one problem found: which, how bad, in what words, with what advice."""
    found, *others = problems(findings)
    assert [] == others
    assert (check, status) == (found.check, found.status), found
    assert says in found.message
    assert found.advice is not None
    assert advises in found.advice
    return found


def skipped(findings: list[Finding]) -> set[str]:
    return {found.check for found in findings if found.status == "skipped"}


def of(findings: list[Finding], check: str) -> Finding:
    (found,) = [found for found in findings if found.check == check]
    return found


OF_THE_API = {"endpoint", "clock", "credentials"}
STORED = {"lock", "runs", "zones", "gone_zones", "withheld", "rate_limit", "history"}
OF_THE_DATABASE = {"database", "schema", "extension", "privileges"} | STORED


async def test_where_all_is_well_every_line_is_ok(look: Look, sync: Any) -> None:
    """Before the first sync and after it, each thing was looked at and nothing is amiss."""
    findings: list[Finding] = []
    for message in ("none yet: syncer sync makes the first", "succeeded"):
        findings = await look()
        assert [] == [found for found in findings if found.status != "ok"]
        assert OF_THE_API | OF_THE_DATABASE | {"spool"} <= {found.check for found in findings}
        assert message in of(findings, "runs").message
        await sync()
    assert "accepted: 6 zones of vm" == of(findings, "credentials").message
    assert "all 6 wholly seen" in of(findings, "zones").message


async def test_it_changes_nothing(look: Look, sync: Any, db: Any) -> None:
    """Every row of every table is what it was, and no lock is left or waited for."""

    async def everything() -> dict[str, str]:
        tables = await db.fetch("select relname from pg_class where relkind = 'r' and "
                                "relnamespace = 'syncer_store'::regnamespace")  # fmt: skip
        return {
            table: await db.fetchval(
                f"select md5(string_agg(t::text, '|' order by t::text)) from syncer_store.{table} t"
            )
            for (table,) in tables
        }

    await sync()
    before = await everything()
    async with db.transaction():
        await db.execute("lock table syncer_store.zones in row exclusive mode")
        assert [] == problems(await look())
    assert before == await everything()
    assert not await db.fetch("select from pg_stat_activity where application_name ~ 'doctor'")


# --- settings


async def test_no_credentials(look: Look) -> None:
    """Without credentials the API is looked at all the same."""
    findings = await look(ZENLAYER_ACCESS_KEY_ID="", ZENLAYER_ACCESS_KEY_SECRET="")
    only(findings, "credentials", "failed", "there are none", "set ZENLAYER_ACCESS_KEY_ID")
    assert "ok" == of(findings, "endpoint").status


async def test_half_a_key_pair(look: Look) -> None:
    """Half a pair is a fault of the settings; nothing is tried with it."""
    findings = await look(ZENLAYER_ACCESS_KEY_SECRET="")
    only(
        findings,
        "ZENLAYER_ACCESS_KEY_SECRET",
        "failed",
        "ZENLAYER_ACCESS_KEY_ID is set but ZENLAYER_ACCESS_KEY_SECRET is not",
        "mend that",
    )
    assert {"credentials"} == skipped(findings)


async def test_faults_of_the_settings_are_lines_and_the_rest_is_looked_at(
    look: Look, tmp_path: Path
) -> None:
    """Each fault has its line; what depends on it is skipped, what does not is looked at."""
    findings = await look(
        SYNCER_RUN_TIMEOUT="soon", ZENLAYER_ENDPOINT="ftp://x", SYNCER_PAGE_SIZE="500"
    )
    assert ["ZENLAYER_ENDPOINT", "SYNCER_RUN_TIMEOUT"] == [f.check for f in problems(findings)]
    assert "'soon' is not a duration" in of(findings, "SYNCER_RUN_TIMEOUT").message
    assert "500 (environment)" == of(findings, "SYNCER_PAGE_SIZE").message
    assert {"endpoint", "credentials"} == skipped(findings)
    assert "ok" == of(findings, "zones").status
    findings = await look(SYNCER_ACCOUNT="a b")
    only(findings, "SYNCER_ACCOUNT", "failed", "is no account name", "mend that")
    assert STORED - {"history"} == skipped(findings)


async def test_an_unknown_key_in_the_settings_file(look: Look, tmp_path: Path) -> None:
    """An option that does not exist is named, with those that do; the origin of others is told."""
    file = tmp_path / "s.toml"
    file.write_text("max_rates = 5\npage_size = 7\n")
    findings = await look(SYNCER_CONFIG=str(file))
    found = only(findings, "settings_file", "failed", "unknown option 'max_rates'", "mend that")
    assert "max_rate," in found.message
    assert f"7 ({file})" == of(findings, "SYNCER_PAGE_SIZE").message
    assert set() == skipped(findings)


async def test_a_settings_file_that_cannot_be_read_leaves_doubt(look: Look) -> None:
    """What it may have said is not guessed: only what was given elsewhere is looked at."""
    findings = await look(SYNCER_CONFIG="/nonexistent.toml", SYNCER_DATABASE_URL="")
    only(findings, "settings_file", "failed", "there is no file /nonexistent.toml", "mend that")
    assert {"credentials", "embedded", "room"} | OF_THE_DATABASE == skipped(findings)


async def test_a_settings_file_that_everybody_may_read(look: Look, tmp_path: Path) -> None:
    """A file with secrets is nobody else's business."""
    file = tmp_path / "s.toml"
    file.write_text(f"zenlayer_access_key_secret = {SECRET!r}\n")
    findings: list[Finding] = []
    for mode, count in ((0o640, 0), (0o644, 1)):
        file.chmod(mode)
        findings = await look(SYNCER_CONFIG=str(file), ZENLAYER_ACCESS_KEY_SECRET="")
        assert count == len(problems(findings))
    only(findings, "settings_file", "warning", "everybody", f"chmod o-r {file}")


# --- the API


async def test_a_wrong_secret(look: Look) -> None:
    """The API refuses us: which of the settings it was, and where that came from."""
    for name in ("ZENLAYER_ACCESS_KEY_SECRET", "ZENLAYER_TOKEN"):
        findings = await look(**{name: PLANTED})
        only(findings, "credentials", "failed", "AUTHFAILURE", f"({name}, environment)")


async def test_credentials_that_see_nothing(look: Look, world: World, simulator: Simulator) -> None:
    """No zones to be seen, or no calls left: the credentials are not what is wrong."""
    for zone in world.zones():
        world.remove_zone(zone)
    only(await look(), "credentials", "warning", "0 zones of vm", "exit 3")
    simulator.add_fault("throttle")
    only(await look(), "credentials", "warning", "asks for fewer calls", "try again later")
    simulator.clear_faults()
    simulator.add_fault("status=500")
    only(await look(), "credentials", "failed", "DescribeZones failed", "try again")


async def test_a_clock_that_is_off_by_an_hour(look: Look, simulator: Simulator) -> None:
    """What this machine signs has expired; a token does not mind."""
    simulator.skew = 3600.0
    found = only(await look(), "clock", "failed", "60 min behind the API's", "timedatectl")
    assert "what it signs has expired" in found.message
    simulator.skew = -3600.0
    findings = await look(ZENLAYER_TOKEN="test-token")
    only(findings, "clock", "warning", "60 min ahead of the API's", "timedatectl")


async def test_an_endpoint_where_nobody_listens(look: Look) -> None:
    """Connection refused: what needs the API is skipped."""
    findings = await look(ZENLAYER_ENDPOINT="http://127.0.0.1:1")
    only(findings, "endpoint", "failed", "127.0.0.1:1 cannot be reached", "ZENLAYER_ENDPOINT")
    assert {"credentials"} == skipped(findings)


@contextlib.asynccontextmanager
async def answering(reply: bytes, heard: list[bytes] | None = None) -> AsyncIterator[str]:
    """A server that gives the same answer to whoever asks; ``heard`` gets what they said."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reply:
            head = await reader.readuntil(b"\r\n\r\n")
            if heard is not None:
                heard.append(head)
            writer.write(reply)
            await writer.drain()
        else:
            await reader.read()  # until who asked gives up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


PORTAL = b"<html>Log in to the network</html>"
OTHERS = {
    "a portal": (b"200 OK", b"Content-Type: text/html", PORTAL, "is not the API", "portal"),
    "a stranger": (b"404 Not Found", b"X-A: b", PORTAL, "is not the API", "ZENLAYER_ENDPOINT"),
    "a redirect": (b"302 Found", b"Location: /x", b"", "redirect", "ZENLAYER_ENDPOINT"),
    "a challenge": (b"403 Forbidden", b"cf-mitigated: challenge", b"", "browser challenge", "ask"),
    "a block": (b"451 No", b"X-A: b", b"", "blocked this address", "an address that is let in"),
    "an outage": (b"503 Unavailable", b"X-A: b", b"", "HTTP 503", "try again"),
}


async def test_something_else_answers(look: Look) -> None:
    """What answers is not the API, or does not let us in: no credentials are sent there."""
    heard: list[bytes] = []
    for case, (status, header, body, says, advises) in OTHERS.items():
        head = b"HTTP/1.1 %s\r\n%s\r\nContent-Length: %d\r\n\r\n" % (status, header, len(body))
        async with answering(head + body, heard) as endpoint:
            findings = await look(ZENLAYER_ENDPOINT=endpoint)
        found = of(findings, "endpoint")
        assert ("failed", True, True) == (
            found.status,
            says in found.message,
            advises in (found.advice or ""),
        ), (case, found)
        assert {"credentials"} == skipped(findings)
    assert len(OTHERS) == len(heard)
    for said in heard:
        assert KEY not in said.decode()
        assert b"authorization" not in said.lower()


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

        heard, spoken = await asyncio.open_connection(simulator.host, simulator.port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carry, reader, spoken)
            tasks.start_soon(carry, heard, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}", certificate


async def test_a_certificate_that_is_not_trusted(
    look: Look, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Untrusted: skipped what needs it. Trusted by SSL_CERT_FILE: good, but not for long."""
    async with over_tls(simulator, tmp_path, days=5) as (endpoint, certificate):
        findings = await look(ZENLAYER_ENDPOINT=endpoint)
        only(findings, "tls", "failed", "is not trusted (self-signed", "set SSL_CERT_FILE")
        assert "can be reached" in of(findings, "endpoint").message
        assert {"credentials"} == skipped(findings)

        other = endpoint.replace("localhost", "127.0.0.1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        env = {"SSL_CERT_FILE": str(certificate)}
        only(
            await look(ZENLAYER_ENDPOINT=other, **env), "tls", "failed", "mismatch", "another name"
        )

        findings = await look(ZENLAYER_ENDPOINT=endpoint, **env)
        only(findings, "tls", "warning", "by Test Authority; it expires in 5 d", "renew")
        assert "ok" == of(findings, "credentials").status

    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    findings = await look(SSL_CERT_FILE="/nonexistent.pem")
    only(findings, "SSL_CERT_FILE", "warning", "no file /nonexistent.pem", "unset it")


async def test_a_proxy_that_refuses(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is named, its password is not; so when it is not there."""
    for reply, says, advises in (
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "HTTP 407", "HTTPS_PROXY"),
        (None, "cannot be reached", "HTTPS_PROXY"),
    ):
        async with answering(reply or b"") as proxy:
            login = proxy.replace("//", f"//u:{PLANTED}@")
            monkeypatch.setenv("HTTPS_PROXY", login if reply else f"http://u:{PLANTED}@127.0.0.1:1")
            findings = await look(ZENLAYER_ENDPOINT="https://api.invalid")
        only(findings, "endpoint", "failed", says, advises)
        assert "http://u:***@127.0.0.1:" in of(findings, "HTTPS_PROXY").message
        assert PLANTED not in str(findings)


# --- the database


async def test_a_database_that_is_not_there(look: Look) -> None:
    """Nobody listens; or no such database: other advice."""
    url = f"postgresql://u:{PLANTED}@127.0.0.1:1/x"
    findings = await look(SYNCER_DATABASE_URL=url)
    only(findings, "database", "failed", "127.0.0.1:1 is not available", "is it running")
    assert OF_THE_DATABASE - {"database"} == skipped(findings)


async def test_a_database_of_another_name(look: Look, url: str) -> None:
    """The server refuses: what is wrong is the URL."""
    findings = await look(SYNCER_DATABASE_URL=url.replace("?", "_missing?"))
    only(findings, "database", "failed", "does not exist", "name of the database")


async def test_what_never_answers_is_given_up(
    look: Look, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint and a database that say nothing cost their time only; the rest is told."""
    monkeypatch.setattr("syncer.doctor.api._PATIENCE", 0.2)
    monkeypatch.setattr("syncer.doctor.database._CONNECT", 0.2)
    async with answering(b"") as endpoint:
        address = endpoint.removeprefix("http://")
        findings = await look(
            ZENLAYER_ENDPOINT=endpoint,
            SYNCER_DATABASE_URL=f"postgresql://u@{address}/x?sslmode=disable",
        )
    for check in ("endpoint", "database"):
        assert ("failed", True) == (
            of(findings, check).status,
            "no answer in" in of(findings, check).message,
        )
    assert {"credentials"} | OF_THE_DATABASE - {"database"} == skipped(findings)
    assert "ok" == of(findings, "spool").status


async def test_a_table_that_is_locked_does_not_hang_the_rest(
    look: Look, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that waits is ended by PostgreSQL; the session goes on to the next."""
    monkeypatch.setattr(look_at_database, "_STATEMENT", "100")
    async with db.transaction():
        await db.execute("lock table syncer_store.runs in access exclusive mode")
        findings = await look()
    assert {"runs", "history"} == {found.check for found in problems(findings)}
    assert "statement timeout" in of(findings, "runs").message
    assert "pg_locks" in (of(findings, "runs").advice or "")
    assert {"lock"} == skipped(findings)
    assert "ok" == of(findings, "zones").status


async def test_a_schema_that_is_not_ours(look: Look, empty_url: str, db: Any, role: str) -> None:
    """Never migrated, older, newer: what to run; the doctor runs it not."""
    findings = await look(SYNCER_DATABASE_URL=empty_url.replace("//syncer@", f"//{role}@"))
    only(findings, "schema", "failed", "was never migrated", "run: syncer db upgrade")
    assert STORED | {"privileges"} == skipped(findings)
    assert "is there; syncer db upgrade installs it" in of(findings, "extension").message

    for revision, says, advises in (
        ("0001", "0001: this program needs", "run: syncer db upgrade"),
        ("9999", "9999: newer than this program", "install a newer syncer"),
    ):
        await db.execute("update syncer_store.alembic_version set version_num = $1", revision)
        findings = await look()
        only(findings, "schema", "failed", says, advises)
        assert STORED == skipped(findings)


async def test_a_schema_as_it_was_at_first(look: Look, empty_url: str, role: str) -> None:
    """A database of the first revision is told of, not tripped over."""
    async with database.Server(empty_url).session() as connection:
        await connection.execute(as_sql("0001"))
        await connection.execute(sql("schema/roles"))
        findings = await look(SYNCER_DATABASE_URL=empty_url.replace("//syncer@", f"//{role}@"))
        await connection.execute(f"drop owned by {role}")
    only(findings, "schema", "failed", "0001: this program needs", "syncer db upgrade")


async def test_a_role_that_may_not_write(look: Look, db: Any, url: str) -> None:
    """A reader can look at what is stored, not sync; a stranger cannot even look."""
    reader = f"reading_{os.getpid()}"
    await db.execute(f"create role {reader} login")
    env = {"SYNCER_DATABASE_URL": url.replace("//syncer@", f"//{reader}@")}
    try:
        findings = await look(**env)
        assert {"schema", "privileges"} == {found.check for found in problems(findings)}
        assert "grant syncer_writer" in (of(findings, "schema").advice or "")
        await db.execute(f"grant syncer_reader to {reader}")
        findings = await look(**env)
        found = only(findings, "privileges", "failed", "cannot sync", f"syncer_writer to {reader}")
        assert "insert on approvals, baseline_images, baselines and" in found.message
        assert set() == skipped(findings)
    finally:
        await db.execute(f"drop role {reader}")


async def test_a_role_that_lacks_one_thing(look: Look, db: Any) -> None:
    """What is lacking is named."""
    await db.execute("revoke delete on syncer_store.zone_digests from syncer_writer")
    only(await look(), "privileges", "failed", "it lacks delete on zone_digests", "syncer db roles")


async def test_a_role_that_may_do_everything(look: Look, url: str) -> None:
    """A superuser is more than a sync needs."""
    findings = await look(SYNCER_DATABASE_URL=url)
    only(findings, "privileges", "warning", "a superuser", "role syncer_writer")


async def test_a_database_that_cannot_be_written(look: Look, db: Any, role: str) -> None:
    """Read-only by default: a sync would fail."""
    await db.execute(f"alter role {role} set default_transaction_read_only to on")
    findings = await look()
    only(findings, "database", "failed", "read-only", "default_transaction_read_only to off")


async def test_the_extension_is_gone(look: Look, db: Any) -> None:
    """Without btree_gist nothing forbids versions that overlap."""
    await db.execute("drop extension btree_gist cascade")
    only(await look(), "extension", "failed", "btree_gist is gone", "restore the database")


async def test_a_server_that_is_too_old(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest that will do is named."""
    monkeypatch.setattr(database, "OLDEST_SERVER", 99)
    only(await look(), "database", "failed", "is too old: syncer needs 99", "upgrade it")


# --- what is stored


async def test_a_lock_that_a_hung_run_holds(look: Look, url: str, db: Any) -> None:
    """A run at work is none of our business; past its deadline it hangs, and is named."""
    async with begin(database.Server(url), "default", run_timeout=900.0, selection={}) as (run, _):
        findings = await look()
        assert [] == problems(findings)
        assert f"held by run {run.run_id}" in of(findings, "lock").message
        await db.execute("update syncer_store.runs set deadline_at = now() - interval '10 min'")
        found = only(await look(), "lock", "warning", f"held by run {run.run_id}", "takes over")
        assert "its time was up 10 min ago" in found.message
        pid = await db.fetchval("select pid from pg_locks where locktype = 'advisory'")
        assert f"pg_terminate_backend({pid})" in (found.advice or "")
    findings = await look()
    only(findings, "lock", "warning", f"run {run.run_id}", "the next run marks it crashed")


async def test_a_lock_without_a_run(look: Look, url: str, db: Any) -> None:
    """A session that holds the lock and does nothing with it."""
    await db.execute("select pg_advisory_lock($1)", lock_key("run", "default"))
    found = only(await look(), "lock", "warning", "held without a run", "pg_terminate_backend")
    assert str(db.get_server_pid()) in found.message


async def test_withheld_removals(look: Look, sync: Any, world: World, syncer: Any, db: Any) -> None:
    """Which zone, how many, since when, and the command that settles it: it works as written."""
    await sync()
    for image_id in sorted(world.images("FRA-A"))[:15]:
        world.remove_image("FRA-A", image_id)
    assert 4 == (await sync()).exit_code
    found = only(
        await look(), "withheld", "warning", "FRA-A: 15 removals of 20 images since 20", "look: "
    )
    assert found.advice is not None
    look_at, approve = (part.partition(": ")[2].split() for part in found.advice.split("; "))
    assert ["syncer", "images", "--withheld", "--zone", "FRA-A"] == look_at
    await approvals.approve(
        db, account=None, service=None, zone_id="FRA-A", max_removals=14, by="a person"
    )
    only(await look(), "withheld", "warning", "approved are at most 14", "with --max 15")
    assert 0 == (await syncer(*approve[1:])).code
    findings = await look()
    assert [] == problems(findings)
    assert "they pass at the zone's next whole look" in of(findings, "withheld").message


async def test_stale_and_gone_zones(look: Look, sync: Any, db: Any, world: World) -> None:
    """How old what is known of a zone is; whose images are unknown."""
    await sync()
    age = "update syncer_store.zone_scans set observed_at = now() - interval '3 days'"
    await db.execute(
        f"{age} where zone_key = (select zone_key from syncer_store.zones where zone_id = 'FRA-A')"
    )
    found = only(await look(), "zones", "warning", "1 of 6 not wholly seen for 2 h", "syncer zones")
    assert "FRA-A (3 d ago)" in found.message
    assert [] == problems(await look(max_age=7 * 86400.0))
    assert [] == problems(await look(SYNCER_EVERY="2d"))
    await db.execute(age)
    only(await look(), "zones", "warning", "none was wholly seen for 2 h", "cron")

    await db.execute("update syncer_store.zones set gone_at = now() where zone_id = 'FRA-A'")
    findings = await look(max_age=7 * 86400.0)
    only(findings, "gone_zones", "warning", "FRA-A (since ", "unknown, not removed")


async def test_runs_that_fail(look: Look, sync: Any, simulator: Simulator) -> None:
    """One failure is a warning, three in a row are not; a good run makes up for them."""
    findings: list[Finding] = []
    simulator.add_fault("blocked")
    for number in (1, 2, 3):
        assert 1 == (await sync()).exit_code
        simulator.clear_faults()
        findings = await look()
        if number < 3:
            only(findings, "runs", "warning", f"run {number} failed", "run syncer sync again")
        simulator.add_fault("blocked")
    only(findings, "runs", "failed", "the last 3 failed or crashed", "then run syncer sync")
    assert "blocked this address by policy" in of(findings, "runs").message
    simulator.clear_faults()
    await sync()
    findings = await look()
    assert [] == problems(findings)
    assert "3 of the last 4 failed or crashed" in of(findings, "runs").message


async def test_a_learnt_limit_is_told(look: Look, db: Any) -> None:
    """The rate that the API took, and since when that is known."""
    await db.execute("insert into syncer_store.rate_limits (account, rate, run_id) "
                     "values ('default', 19.64, 7)")  # fmt: skip
    assert "19.6 calls a second" in of(await look(), "rate_limit").message


# --- this machine


async def test_folders_that_cannot_be_written(look: Look, tmp_path: Path) -> None:
    """The metrics file's folder and TMPDIR are tried, not found out by a run at night."""
    path = tmp_path / "none" / "syncer.prom"
    findings = await look(SYNCER_METRICS_FILE=str(path))
    only(findings, "metrics_file", "failed", f"no folder {path.parent}", "SYNCER_METRICS_FILE")
    findings = await look(SYNCER_METRICS_FILE=str(tmp_path))
    only(findings, "metrics_file", "failed", "is not a file", "name a file")
    assert [] == problems(await look(SYNCER_METRICS_FILE=str(tmp_path / "syncer.prom")))
    if os.geteuid():
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        findings = await look(SYNCER_METRICS_FILE=str(closed / "syncer.prom"))
        only(findings, "metrics_file", "failed", "cannot be written in", "let syncer write")
    only(await look(TMPDIR=str(path)), "spool", "warning", f"no folder {path}", "set TMPDIR")


async def test_the_embedded_server_is_looked_at_and_left_as_it_was(
    look: Look, tmp_path: Path, pg_bin: str | None
) -> None:
    """Not made yet: not made. Made: started, looked into, stopped again."""
    env = {
        "SYNCER_DATABASE_URL": "",
        "SYNCER_STATE_DIR": str(tmp_path / "state"),
        "SYNCER_PG_BIN": pg_bin or "",
    }
    home = tmp_path / "state" / "postgres"
    findings = await look(**env)
    assert [] == problems(findings)
    assert OF_THE_DATABASE == skipped(findings)
    assert not home.exists()

    async with EmbeddedPostgres(home, pg_bin=pg_bin, settings=_UNSAFE_AND_FAST) as server:
        await upgrade(database.Server(server.dsn()))
        assert f"in use (pid {server.running_pid})" in of(await look(**env), "embedded").message
    findings = await look(**env)
    assert [] == [found for found in findings if found.status != "ok"]
    assert "at rest" in of(findings, "embedded").message
    assert [] == list((tmp_path / "state").rglob("postmaster.pid"))

    (data,) = home.glob("data-*")
    data.rename(data.with_name("data-9"))
    findings = await look(**env)
    only(findings, "embedded", "warning", "is of PostgreSQL 9", "SYNCER_PG_BIN")
    findings = await look(**env | {"SYNCER_PG_BIN": str(tmp_path)})
    only(findings, "embedded", "failed", "has no program initdb", "set SYNCER_PG_BIN")


# --- the command


@pytest.fixture
def ill(simulator: Simulator, tmp_path: Path) -> dict[str, str]:
    """Much is wrong, and a secret is planted wherever one can be."""
    file = tmp_path / "s.toml"
    file.write_text(f"zenlayer_token = {PLANTED!r}\nmax_rates = 5\n")
    return {
        "SYNCER_CONFIG": str(file),
        "ZENLAYER_ENDPOINT": simulator.endpoint,
        "ZENLAYER_ACCESS_KEY_ID": PLANTED,
        "ZENLAYER_ACCESS_KEY_SECRET": PLANTED,
        "SYNCER_DATABASE_URL": f"postgresql://u:{PLANTED}@127.0.0.1:1/x?sslpassword={PLANTED}",
        "HTTP_PROXY": f"http://u:{PLANTED}@127.0.0.1:9",
        "SYNCER_MAX_RATE": "none",
        "SYNCER_RUN_TIMEOUT": "soon",
    }


async def test_no_format_shows_a_secret(syncer: Any, ill: dict[str, str]) -> None:
    """Table, JSON and CSV: the same lines, never a secret, exit 1."""
    done: dict[str, Done] = {}

    async def run(output: str) -> None:
        done[output] = await syncer("doctor", "--all", "-o", output, **ill)

    async with anyio.create_task_group() as tasks:
        for output in ("table", "json", "csv"):
            tasks.start_soon(run, output)
    for output, (code, out, err) in done.items():
        assert (1, "") == (code, err)
        assert PLANTED not in out, output
        assert "\x1b" not in out
    array = json.loads(done["json"].out)
    assert {"check", "status", "message", "advice"} == set().union(*array)
    table = list(csv.DictReader(io.StringIO(done["csv"].out)))
    assert [row["check"] for row in array] == [row["check"] for row in table]
    shown = "".join(done["table"].out.split())  # a long path is cut where a line ends
    failed = [row for row in array if row["status"] == "failed"]
    assert {"SYNCER_RUN_TIMEOUT", "settings_file", "credentials", "database"} == {
        row["check"] for row in failed
    }
    for row in failed:
        assert "".join(row["advice"].split()) in shown
    assert done["table"].out.endswith("skipped.\n")


async def test_only_a_failed_line_is_exit_1(syncer: Any, url: str) -> None:
    """Warnings are exit 0 (a superuser syncs here); lines of JSON where nobody looks."""
    done = await syncer("doctor")
    assert (0, "") == (done.code, done.err)
    assert ["privileges"] == [row["check"] for row in rows(done) if row["status"] == "warning"]


@pytest.mark.parametrize(
    "wrong", [["--max-age", "old"], ["--account", "a b"], ["-o", "xml"], ["now"]]
)
def test_wrong_usage_is_exit_2(wrong: list[str]) -> None:
    """What cannot be understood is no finding."""
    done = CliRunner().invoke(cli, ["doctor", *wrong])
    assert (2, "") == (done.exit_code, done.stdout)


async def test_on_a_terminal_problems_come_last_and_in_colour(
    environment: dict[str, str], ill: dict[str, str]
) -> None:
    """What is well first, then warnings, then failures with what to do, at last the count."""
    ours, theirs = os.openpty()
    with contextlib.closing(open(ours, "rb", buffering=0)) as terminal:  # noqa: ASYNC230, PTH123
        process = await anyio.open_process(
            [sys.executable, "-m", "syncer", "doctor"],
            env={
                "PATH": os.environ["PATH"],
                "TERM": "xterm",
                "COLUMNS": "100",
                **environment,
                **ill,
            },
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while data := await anyio.to_thread.run_sync(terminal.read, 65_536):
                shown += data
        async with process:
            assert 1 == await process.wait()
    text = shown.decode()
    parts = ("\x1b[32mok ", "\x1b[1;33mwarning", "\u2192 ", "\x1b[1;31mfailed ", "4 failed")
    order = [text.index(part) for part in parts]
    assert sorted(order) == order
    assert text.rindex(parts[0]) < order[1]
    assert PLANTED not in text


async def test_what_cannot_be_cancelled_ends_with_the_process(
    environment: dict[str, str],
) -> None:
    """A thread that hangs, as in a resolver, keeps nobody waiting once all is told."""
    program = """
import sys, threading
import syncer.cli, syncer.cli.doctor, syncer.doctor.api
syncer.doctor.api._PATIENCE = syncer.cli.doctor._LEAVE = 0.2
threading.Thread(target=threading.Event().wait).start()
sys.argv = ["syncer", "doctor", "-o", "json"]
syncer.cli.main()
"""
    async with answering(b"") as endpoint:
        env = {"PATH": os.environ["PATH"], **environment, "ZENLAYER_ENDPOINT": endpoint}
        done = await anyio.run_process([sys.executable, "-c", program], check=False, env=env)
    assert 1 == done.returncode
    failed = [row for row in json.loads(done.stdout) if row["status"] == "failed"]
    assert [("endpoint", "no answer in 0 s")] == [(row["check"], row["message"]) for row in failed]


async def test_a_listener_that_had_enough_is_no_error(
    environment: dict[str, str],
) -> None:
    """`syncer doctor | head -1` prints one line and no complaint."""
    command = f"{sys.executable} -m syncer doctor --all -o table | head -1"
    done = await anyio.run_process(
        ["bash", "-c", command], env={"PATH": os.environ["PATH"], **environment}
    )
    assert (1, b"") == (len(done.stdout.splitlines()), done.stderr)


def test_the_exit_code_is_of_the_worst_line() -> None:
    """1 only if a line failed."""
    line = Finding(check="x", status="warning", message="")
    worse = Finding(check="x", status="failed", message="")
    assert (0, 1) == (exit_code([line]), exit_code([worse, line]))


def test_what_others_say_is_shown_without_our_secrets() -> None:
    """An error may repeat what it was given, as it was or decoded; short words are left alone."""
    env = {
        "HOME": "/nonexistent",
        "ZENLAYER_TOKEN": PLANTED,
        "SYNCER_DATABASE_URL": "postgresql://u:p%40ssword@h/x",
    }
    hide = Discretion(load_with_faults({}, env).settings)
    assert "no *** for ***, ***" == hide(f"no {PLANTED} for p%40ssword, p@ssword")
    env["SYNCER_DATABASE_URL"] = "postgresql://u:pg@h/x"
    assert "pg_hba.conf" == Discretion(load_with_faults({}, env).settings)("pg_hba.conf")


def test_the_key_is_not_a_secret_but_its_whole_is_not_shown() -> None:
    """A secret put in the place of the id would be shown otherwise."""
    given = load_with_faults({}, {"ZENLAYER_ACCESS_KEY_ID": KEY + "-long", "HOME": "/nonexistent"}).given
    assert ["test..."] == [each.value for each in given if each.name == "ZENLAYER_ACCESS_KEY_ID"]
