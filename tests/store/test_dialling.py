"""Who cannot get to PostgreSQL sees in one line why, and what to do: no traceback, no secret."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from syncer.config.settings import load
from syncer.core.errors import ConfigError, SyncerError
from syncer.embedded import EmbeddedPostgres
from syncer.store.connection import Server, Timing, acquired
from syncer.store.open import given_server
from tests.listeners import (
    Certificates,
    listening,
    message,
    refusal,
    says,
    silent,
    tls_to,
)
from tests.support import STRANGER, as_user, needs_root

QUICK = Timing(connect=0.3, close=0.2)
PASSWORD = "s3cr3t-0f-r0le"
HBA = """
local all mistaken_pw scram-sha-256
local all mistaken_out reject
local all mistaken_peer peer
local all mistaken_gone trust
"""
ROLES = f"""
create role mistaken_pw login password '{PASSWORD}';
create role mistaken_out login;
create role mistaken_peer login;
create role mistaken_full login connection limit 0;
create role mistaken_out_of_it login;
create role mistaken_nologin;
create database mistaken_closed allow_connections false;
create database mistaken_full connection limit 0;
create database mistaken_private;
revoke connect on database mistaken_private from public"""


class Place(SimpleNamespace):
    """Ports, folders and certificates of this file, by the names that URLs have for them."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def begun_with(file: Path, text: str) -> Iterator[None]:
    """Let a file begin with a text meanwhile."""
    before = file.read_text()
    file.write_text(text + before)
    yield
    file.write_text(before)


@pytest.fixture(scope="module")
async def roles(postgres: EmbeddedPostgres, administrator: Any) -> AsyncIterator[None]:
    """Who may not log in, each for another reason."""
    shown = await administrator.fetchval("show hba_file")  # in a folder that the server has open
    with begun_with(Path(shown.replace("/self/", f"/{postgres.running_pid}/")), HBA):
        for statement in ROLES.split(";"):
            await administrator.execute(statement)
        await administrator.execute("select pg_reload_conf()")
        yield
    for statement in reversed(ROLES.split(";")[:-1]):
        _, what, name, *_ = statement.split()
        await administrator.execute(f"drop {what} {name}")
    await administrator.execute("select pg_reload_conf()")


@pytest.fixture(scope="module")
async def place(
    postgres: EmbeddedPostgres,
    roles: None,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Place]:
    folder = parse_qs(urlsplit(postgres.dsn()).query)["host"][0]
    port = parse_qs(urlsplit(postgres.dsn()).query)["port"][0]
    socket = f"{folder}/.s.PGSQL.{port}"
    certified = certificates.server
    scram = message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")
    talks = {
        "tls": tls_to(socket, certified("server")),
        "expired": tls_to(socket, certified("expired")),
        "asks": tls_to(socket, certified("server", asks=True), plain=False),
        "silent": silent,
        "closes": says(),
        "http": says(b"", tls=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "http_plain": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "early": says(b"", tls=refusal("57P03", "out of processes")),
        "starts": says(refusal("57P03", "the database system is starting up")),
        "stops": says(refusal("57P03", "the database system is shutting down")),
        "crowded": says(refusal("53300", "sorry, too many clients already")),
        "kerberos": says(message(b"R", b"\0\0\0\x02")),
        "scram": says(scram, message(b"R", b"\0\0\0\x0br=x,s=QUJD,i=many")),
        "garbage": says(message(b"R", b"\xff")),
    }
    home = tmp_path_factory.mktemp("home")
    async with contextlib.AsyncExitStack() as stack:
        ports = {
            name: await stack.enter_async_context(listening(talk)) for name, talk in talks.items()
        }
        yield Place(folder=folder, port=port, home=home, certs=certificates.folder, **ports)


async def attempt(place: Place, url: str, **environment: str) -> tuple[int, str]:
    """Connect as the commands do; return the exit code, and what is shown."""
    given = {"HOME": str(place.home), **environment}
    if url:
        given["SYNCER_DATABASE_URL"] = url
    given = {name: value.format(**vars(place)) for name, value in given.items()}
    try:
        database = load(environment=given).database
        assert not database.embedded
        server = given_server(database)
        server.timing = QUICK
        async with server.reading() as connection:
            assert 1 == await connection.fetchval("select 1")
            return 0, ""
    except SyncerError as error:
        (line,) = error.lines
        assert "\n" not in line
        assert "s3cr3t" not in line
        return error.exit_code, line


HERE = "postgresql://syncer@/postgres?host={folder}&port={port}"
TLS = "postgresql://syncer@localhost:{tls}/postgres?sslmode="
FULL = f"{TLS}verify-full&sslrootcert={{certs}}/ca.crt"
ASKS = "postgresql://syncer@localhost:{asks}/postgres?sslmode=require"
CERT = "&sslcert={certs}/client.crt&sslkey={certs}/client.key"

WORKS: Mapping[str, str] = {
    "socket": HERE,
    "what means nothing": HERE + "&connect_timeout=5&keepalives=1&keepalives_idle=30"
    "&gssencmode=disable&channel_binding=require&application_name=x&sslsni=1",
    "options": HERE + "&options=-c%20work_mem%3D64MB",
    "require": TLS + "require",
    "prefer": TLS + "prefer",
    "allow": TLS + "allow",
    "verify-ca": TLS + "verify-ca&sslrootcert={certs}/ca.crt",
    "verify-full": FULL,
    "by another address": FULL + "&hostaddr=127.0.0.1",
    "none revoked": FULL + "&sslcrl={certs}/none.crl",
    "certificate": ASKS + CERT,
    "certificate, prefer": ASKS.replace("=require", "=prefer") + CERT,
    "one file for both": ASKS + "&sslcert={certs}/both.pem",
    "key with password": ASKS + CERT.replace("client.key", "locked.key&sslpassword=s3cr3t-0f-key"),
    "the second host": "postgresql://syncer@localhost:1,localhost:{starts},localhost:{silent},"
    "localhost:{tls}/postgres",
    "a standby if there is one": HERE + "&target_session_attrs=prefer-standby",
    "the primary": HERE + "&target_session_attrs=read-write",
    "any order": "postgresql://syncer@localhost:{tls},localhost:{tls}/postgres"
    "?load_balance_hosts=random",
    "password": HERE.replace("syncer@", f"mistaken_pw:{PASSWORD}@"),
}

MISTAKES: Mapping[str, tuple[str, int, str]] = {
    # parameters
    "a time in words": (HERE + "&connect_timeout=x", 2, "SYNCER_DATABASE_URL: connect_timeout is"),
    "misspelt": (
        HERE + "&sslmod=require",
        2,
        "'sslmod' of libpq: did you mean sslmode",
    ),
    "a server's setting": (HERE + "&schema=public", 2, "options=-c%20schema%3Dvalue"),
    "demands what cannot be had": (HERE + "&require_auth=none", 2, "require_auth cannot be had"),
    "GSSAPI": (HERE + "&gssencmode=require", 2, "gssencmode can be prefer or disable only"),
    "kind of session": (HERE + "&target_session_attrs=x", 2, "can be any, read-write, .*not 'x'"),
    "kind of encryption": (HERE + "&sslmode=yes", 2, "sslmode can be disable, .*not 'yes'"),
    "ports for hosts": ("postgresql://u@a,b,c/d?port=1,2", 2, "2 values of port do not go with 3"),
    "options": (HERE + "&options=-c%20nope%3D1", 2, r"42704\); correct options \(PGOPTIONS\)"),
    # where
    "nothing listens": ("postgresql://u@localhost:1/d", 1, "localhost:1 is not .*nothing listens"),
    "no such name": ("postgresql://u@no-such-host.invalid/d", 1, "there is no host no-such-host"),
    "no name at all": ("postgresql://u@a..b/d", 2, "cannot be at a..b: that is no name"),
    "no folder": ("postgresql://u@/d?host=/nowhere", 1, "/nowhere/.s.PGSQL.5432: there is no such"),
    "a long path": (f"postgresql://u@/d?host=/{'a' * 120}", 2, "longer than 107 bytes"),
    "no host will do": (
        "postgresql://u@localhost:1,localhost:{starts}/d",
        1,
        "localhost:1: nothing listens.*localhost:[0-9]+: the database system is starting up",
    ),
    "no standby": (HERE + "&target_session_attrs=standby", 1, "it is not standby"),
    # what answers
    "silence": ("postgresql://u@localhost:{silent}/d", 1, "does not answer within 0.3 s"),
    "it closes": ("postgresql://u@localhost:{closes}/d", 1, "closed it without a word"),
    "it closes, plain": (
        "postgresql://u@localhost:{closes}/d?sslmode=disable",
        1,
        "closed it without a word",
    ),
    "HTTP": ("postgresql://u@localhost:{http}/d", 2, "what answers there is not PostgreSQL"),
    "HTTP, TLS": ("postgresql://u@localhost:{http}/d?sslmode=require", 2, "or it is not Postgre"),
    "HTTP, plain": (
        "postgresql://u@localhost:{http_plain}/d?sslmode=disable",
        1,
        "is it PostgreSQL",
    ),
    "refused before TLS": ("postgresql://u@localhost:{early}/d", 1, "its log says why"),
    "starting": ("postgresql://u@localhost:{starts}/d", 1, "starting up .*not ready yet"),
    "stopping": ("postgresql://u@localhost:{stops}/d", 1, "shutting down .*when it is back"),
    "full": ("postgresql://u@localhost:{crowded}/d", 1, "raise max_connections"),
    "Kerberos": ("postgresql://u@localhost:{kerberos}/d", 2, "log in by scram-sha-256"),
    "SCRAM": ("postgresql://u:s3cr3t@localhost:{scram}/d", 2, "does not log us in as PostgreSQL"),
    "garbage": ("postgresql://u@localhost:{garbage}/d", 2, "cannot be used"),
    # TLS
    "no TLS": ("postgresql://u@localhost:{starts}/d?sslmode=require", 2, "does not offer TLS"),
    "no authority": (TLS + "verify-full", 2, "name its file in sslrootcert .*sslrootcert=system"),
    "another authority": (
        TLS + "verify-ca&sslrootcert={certs}/other.crt",
        2,
        "of no authority that is trusted here",
    ),
    "the system's": (
        "postgresql://u@localhost:{tls}/d?sslrootcert=system",
        2,
        "of no authority that is trusted here",
    ),
    "the system's, weakly": (TLS + "require&sslrootcert=system", 2, "sslmode require does not go"),
    "another name": (
        FULL.replace("localhost", "db.example") + "&hostaddr=127.0.0.1",
        2,
        "certificate is of another name than db.example",
    ),
    "expired": (FULL.replace("{tls}", "{expired}"), 2, "has expired: renew it on the server"),
    "revoked": (FULL + "&sslcrl={certs}/server.crl", 2, "its certificate was revoked"),
    "authority missing": (TLS + "require&sslrootcert=/x.crt", 2, "^sslrootcert: .*no file /x.crt"),
    "authority no PEM": (
        TLS + "require&sslrootcert={certs}/client.key",
        2,
        "sslrootcert: .*/client.key holds no certificate in PEM form",
    ),
    "revocations missing": (FULL + "&sslcrl=/x.crl", 2, "sslcrl: there is no file /x.crl"),
    "revocations no PEM": (FULL + "&sslcrl={certs}/ca.key", 2, "holds no revocation list in PEM"),
    "revocations' folder": (FULL + "&sslcrldir=/x", 2, "sslcrldir: there is no folder /x"),
    "certificate missing": (ASKS + "&sslcert=/x", 2, "sslcert: there is no file /x"),
    "certificate missing, prefer": (TLS + "prefer&sslcert=/x", 2, "sslcert: there is no file /x"),
    "certificate no PEM": (ASKS + CERT.replace(".crt", ".key"), 2, "sslcert: .*holds no certifi"),
    "no key": (ASKS + "&sslcert={certs}/client.crt", 2, "sslkey: name the key of the certificate"),
    "key missing": (ASKS + CERT.replace("client.key", "x"), 2, "sslkey: there is no file .*/x$"),
    "key of another": (
        ASKS + CERT.replace("client.key", "other.key"),
        2,
        "sslkey: .*/other.key is not the key of the certificate .*/client.crt",
    ),
    "key with password": (
        ASKS + CERT.replace("client.key", "locked.key"),
        2,
        "one that needs a password",
    ),
    "key with another password": (
        ASKS + CERT.replace("client.key", "locked.key&sslpassword=s3cr3t"),
        2,
        "holds no key in PEM form that sslpassword opens",
    ),
    "key that others may read": (
        ASKS + CERT.replace("client.key", "open.key"),
        2,
        "others may read .*/open.key, or change it: chmod 600",
    ),
    "certificate of a stranger": (
        ASKS + CERT.replace("client", "stranger"),
        1,
        "or it does not accept our certificate",
    ),
    "versions": (
        TLS + "require&ssl_min_protocol_version=TLSv1&ssl_max_protocol_version=TLSv1.1",
        2,
        "no version of TLS suits both sides",
    ),
    "versions the wrong way": (TLS + "require&ssl_max_protocol_version=TLSv1", 2, "is older than"),
    "TLS at once": (TLS + "prefer&sslnegotiation=direct", 2, "does not go with sslmode prefer"),
    # who
    "no password": (HERE.replace("syncer@", "mistaken_pw@"), 2, "no password is given: .*/.pgpass"),
    "wrong password": (
        HERE.replace("syncer@", "mistaken_pw:s3cr3t-wr0ng@"),
        2,
        "authentication failed .*correct the password",
    ),
    "refused": (HERE.replace("syncer@", "mistaken_out@"), 2, "a line of pg_hba.conf"),
    "peer": (HERE.replace("syncer@", "mistaken_peer@"), 2, r"name the role of this user \(PGUSER"),
    "no role": (HERE.replace("syncer@", "mistaken_gone@"), 2, "does not exist .*create role"),
    "no login": (HERE.replace("syncer@", "mistaken_nologin@"), 2, "alter role ... login"),
    "no database": (HERE.replace("/postgres", "/nope"), 2, "does not exist .*create database"),
    "closed": (HERE.replace("/postgres", "/mistaken_closed"), 2, "allow_connections true"),
    "not ours": (
        HERE.replace("syncer@/postgres", "mistaken_out_of_it@/mistaken_private"),
        2,
        "grant connect on database",
    ),
    "full role": (HERE.replace("syncer@", "mistaken_full@"), 1, "alter role ... connection limit"),
    "full database": (
        HERE.replace("syncer@/postgres", "mistaken_out_of_it@/mistaken_full"),
        1,
        "alter database ... connection limit",
    ),
}


@pytest.mark.parametrize("name", WORKS)
async def test_what_libpq_takes_connects(place: Place, name: str) -> None:
    """Parameters of libpq, TLS of every kind, several hosts."""
    assert (0, "") == await attempt(place, WORKS[name])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("name", MISTAKES)
async def test_a_mistake_is_shown_with_what_to_do(place: Place, name: str) -> None:
    """2 for a wrong setting, 1 for a server that is away."""
    url, code, words = MISTAKES[name]
    found, line = await attempt(place, url)
    assert found == code, line
    assert re.search(words, line), line


async def test_a_password_file_is_used_as_libpq_uses_it(place: Place, tmp_path: Path) -> None:
    """Named, or in the home; of the first line that fits; not where others may read it."""
    url = HERE.replace("syncer@", "mistaken_pw@")
    file = tmp_path / ".pgpass"
    file.write_text(f"*:*:*:another:no\n{place.folder}:{place.port}:*:mistaken_pw:{PASSWORD}\n")
    file.chmod(0o600)
    assert (0, "") == await attempt(place, url, PGPASSFILE=str(file))
    assert (0, "") == await attempt(place, url, HOME=str(tmp_path))
    file.chmod(0o640)
    code, line = await attempt(place, url, HOME=str(tmp_path))
    assert (2, True) == (code, f"is not used: others may read {file}: chmod 600 {file}" in line)
    code, line = await attempt(place, url, PGPASSFILE=str(tmp_path))
    assert (2, True) == (code, f"is not used: {tmp_path} is no plain file" in line)


async def test_a_service_and_variables_lead_there(place: Place, tmp_path: Path) -> None:
    """Without a URL; the service goes before the environment; certificates in the home count."""
    (tmp_path / ".pg_service.conf").write_text(
        f"[ours]\nhost=localhost\nport={place.asks}\ndbname=postgres\nuser=syncer\n"
    )
    folder = tmp_path / ".postgresql"
    folder.mkdir()
    for name, to in (("client.crt", "postgresql.crt"), ("client.key", "postgresql.key")):
        (folder / to).write_bytes((place.certs / name).read_bytes())
        (folder / to).chmod(0o600)
    given = {"HOME": str(tmp_path), "PGSERVICE": "ours", "PGSSLMODE": "require"}
    assert (0, "") == await attempt(place, "", **given, PGHOST="/nowhere", PGPORT="1")
    (folder / "postgresql.key").unlink()
    code, line = await attempt(place, "", **given)
    assert (2, True) == (code, "sslkey: name the key" in line)


@needs_root
async def test_what_another_user_may_not_read_or_use(place: Place, tmp_path: Path) -> None:
    """A certificate, a folder of sockets: it is named, exit 2."""
    for url, words in (
        (ASKS + CERT, "/client.crt cannot be read by this user: Permission denied"),
        (f"postgresql://u@/d?host={tmp_path}", "this user may not connect to it"),
    ):
        with as_user(STRANGER):
            code, line = await attempt(place, url, HOME="/")
        assert (2, True) == (code, words in line), line


async def test_a_pool_goes_the_same_way(place: Place) -> None:
    """Its connections too go to the first host that answers."""
    hosts = f"localhost:1,localhost:{place.silent},localhost:{place.tls}"
    server = Server(f"postgresql://syncer@{hosts}/postgres?sslmode=require", timing=QUICK)
    async with server.pool(size=2, name="pool") as pool, acquired(pool, server) as connection:
        assert 1 == await connection.fetchval("select 1")
    server = Server(f"postgresql://nobody_here@localhost:{place.tls}/postgres", timing=QUICK)
    async with server.pool(size=2, name="pool") as pool:
        with pytest.raises(ConfigError, match="create role"):
            async with acquired(pool, server):
                pass


@pytest.mark.parametrize(
    ("command", "url", "code"),
    [
        ("db upgrade", "postgresql://u@localhost:1,localhost:{closes}/d", 1),
        ("db upgrade", "postgresql://u@localhost:{http}/d", 2),
        ("db status", "postgresql://u@localhost:{tls}/d?sslmode=verify-full&sslrootcert=/x", 2),
        ("sync", "postgresql://u:s3cr3t-0f-r0le@localhost:{scram}/d", 2),
        ("images", "postgresql://u@localhost/d?connect_timeout=x", 2),
    ],
)
async def test_every_command_shows_one_line(
    place: Place, syncer: Any, command: str, url: str, code: int
) -> None:
    """Migrating, reading and writing commands alike."""
    done = await syncer(*command.split(), SYNCER_DATABASE_URL=url.format(**vars(place)))
    assert (code, "", 1) == (done.code, done.out, len(done.err.splitlines())), done.err
    assert "s3cr3t" not in done.err
