"""Connection settings are read as libpq reads them; libpq itself (in psycopg) is the oracle."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from psycopg import pq

from syncer.config.postgres import find_address
from syncer.core import libpq
from syncer.core.libpq import DEFAULT_SOCKETS, VARIABLES, Address, Host, find_password

NAMES = st.sampled_from(["a", "b c", "ü", "p%/@:?#&=+,'x", "inv"])
HOSTS = st.lists(st.sampled_from(["127.0.0.1", "::1", "", "/nowhere"]), min_size=1, max_size=3)
PORTS = st.one_of(
    st.sampled_from(["", "1", "65535"]),
    st.sampled_from(["", "2", "1,2", ",2", "1,2,3", "0", "x", "65536"]),
)
VALUES: Mapping[str, st.SearchStrategy[str]] = {
    "host": HOSTS.map(",".join),
    "hostaddr": st.sampled_from(["", "", "127.0.0.1", "127.0.0.1,::1"]),
    "port": PORTS,
    "dbname": NAMES,
    "user": NAMES,
    "password": NAMES,
    "connect_timeout": st.sampled_from(["0", "1", "5"]),
    "options": st.sampled_from(["", "-c work_mem=64MB"]),
    "sslmode": st.sampled_from(
        ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "yes"]
    ),
    "sslrootcert": st.sampled_from(["/none.crt", "/none.crt", "system"]),
    "sslnegotiation": st.sampled_from(["postgres", "postgres", "postgres", "direct", "x"]),
    "ssl_min_protocol_version": st.sampled_from(
        ["TLSv1.1", "tlsv1.2", "TLSv1.2", "TLSv1.3", "SSLv3"]
    ),
    "ssl_max_protocol_version": st.sampled_from(["TLSv1.2", "TLSv1.3"]),
    "target_session_attrs": st.sampled_from(
        ["any", "read-write", "read-only", "primary", "standby", "prefer-standby", "x"]
    ),
    "load_balance_hosts": st.sampled_from(["disable", "random", "disable", "random", "x"]),
    "application_name": NAMES,
    "keepalives": st.sampled_from(["0", "1"]),
    "channel_binding": st.sampled_from(["disable", "prefer"]),
}
PARAMETERS = st.fixed_dictionaries({}, optional=VALUES)
ENVIRONMENTS = st.fixed_dictionaries(
    {},
    optional={
        variable: VALUES[name].filter(bool)  # an empty one is unset here
        for variable, name in VARIABLES.items()
        if name in VALUES
    },
)
SERVICES = PARAMETERS.filter(lambda found: all(v == v.strip() for v in found.values()))
NETLOCS = st.builds(
    lambda login, hosts: login + ",".join(hosts),
    st.sampled_from(["", "u@", "u:p@", "u:p%40%2F@", ":p@", "u:@", "u:a#b?c@"]),
    st.lists(
        st.sampled_from(["127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:2", "", ":3", "%2Fnowhere"]),
        min_size=1,
        max_size=3,
    ),
)
PATHS = st.sampled_from(["", "/", "/d", "/d%20e", "/ü", "/a/b", "/a+b"])


def url_of(netloc: str, path: str, parameters: Mapping[str, str]) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"postgresql://{netloc}{path}{query and '?'}{query}"


def by_libpq(url: str) -> dict[str, str] | None:
    """What libpq makes of everything together, or None where it refuses that."""
    connection = pq.PGconn.connect_start(url.encode())
    try:
        said = connection.error_message.decode()
        if connection.status == pq.ConnStatus.BAD and not said.startswith("connection to server"):
            return None
        return {o.keyword.decode(): (o.val or b"").decode() for o in connection.info}
    finally:
        connection.finish()


def hosts_of(info: Mapping[str, str]) -> Iterator[Host]:
    """Libpq's lists, host by host."""
    names, addresses, ports = (info[n].split(",") for n in ("host", "hostaddr", "port"))
    for number in range(max(len(names), len(addresses))):
        name = names[number] if number < len(names) else ""
        address = addresses[number] if number < len(addresses) else ""
        port = int((ports[number] if len(ports) > 1 else ports[0]) or 5432)
        if name or address:
            yield Host(name=name, address=address, port=port)
        else:
            yield from (Host(name=n, address="", port=port) for n in DEFAULT_SOCKETS)


def comparable(address: Address) -> dict[str, str]:
    tls = address.tls
    return {
        "user": address.user,
        "dbname": address.database,
        "password": address.password,
        "options": address.options,
        "sslmode": tls.mode,
        "sslrootcert": tls.root_cert,
        "sslnegotiation": "direct" if tls.direct else "postgres",
        "ssl_min_protocol_version": tls.min_version.lower(),
        "ssl_max_protocol_version": tls.max_version.lower(),
        "target_session_attrs": address.sessions,
        "load_balance_hosts": "random" if address.shuffled else "disable",
    }


@given(
    netloc=NETLOCS,
    path=PATHS,
    parameters=PARAMETERS,
    environment=ENVIRONMENTS,
    service=SERVICES,
    asked=st.sampled_from(["", "in the URL", "in the environment"]),
)
@settings(
    max_examples=int(os.environ.get("SYNCER_FUZZ_LIBPQ") or 80),
    deadline=None,
    derandomize="SYNCER_FUZZ_LIBPQ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example("", "", {}, {"PGHOST": "/nowhere"}, {"host": "127.0.0.1"}, "in the environment")
@example("[::1]", "", {}, {"PGHOST": "/nowhere"}, {"host": "127.0.0.1"}, "in the URL")
def test_we_connect_to_where_libpq_would(  # noqa: PLR0917  (hypothesis' examples)
    tmp_path: Path,
    netloc: str,
    path: str,
    parameters: dict[str, str],
    environment: dict[str, str],
    service: dict[str, str],
    asked: str,
) -> None:
    """By URL, then service file, then environment, then defaults; and what one refuses, both do."""
    file = tmp_path / "services"
    lines = "".join(f"{name}={value}\n" for name, value in service.items())
    file.write_text(f"# ours\n[other]\nhost=elsewhere\n\n[it]\n{lines}[last]\nport=9\n")
    given = {"PGSERVICEFILE": str(file), "HOME": str(tmp_path), **environment}
    if asked == "in the URL":
        parameters = {**parameters, "service": "it"}
    elif asked:
        given["PGSERVICE"] = "it"
    url = url_of(netloc, path, parameters)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in given.items():
            patched.setenv(name, value)
        info = by_libpq(url)
    event("refused" if info is None else "read")
    address = None
    with contextlib.suppress(ValueError):
        address = find_address(url, given, str(tmp_path))
    if info is None or address is None:
        assert (info is None) is (address is None), url
        return
    assert list(hosts_of(info)) == list(address.hosts)
    ours = comparable(address)
    assert {name: info[name].lower() if "version" in name else info[name] for name in ours} == ours


FIELDS = st.sampled_from(
    ["*", "127.0.0.1", "localhost", "2", "d", "u", r"a\:b", r"c\\d", "x:y", ""]
)
LINES = st.lists(st.lists(FIELDS, min_size=3, max_size=6).map(":".join), max_size=4)


@given(
    lines=st.lists(st.one_of(LINES.map("".join), st.sampled_from(["*:*:d:u:pw", "#*:*:*:*:no"]))),
    user=st.sampled_from(["u", "a:b", "c\\d"]),
)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example([r"127.0.0.1:2:d:a\:b:p\:q\\r:s"], "a:b")
def test_a_password_file_has_the_password_that_libpq_finds(
    tmp_path: Path, lines: list[str], user: str
) -> None:
    """Fields with escapes, comments, the first line that fits."""
    file = tmp_path / "pass"
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    address = {"user": user, "host": "127.0.0.1", "port": "2", "dbname": "d", "passfile": str(file)}
    connection = pq.PGconn.connect_start(libpq.to_url(address).encode())
    by_libpq = (connection.password or b"").decode()
    connection.finish()
    host = Host(name="127.0.0.1", address="", port=2)
    assert by_libpq == (find_password(file.read_text(), host, database="d", user=user) or "")
