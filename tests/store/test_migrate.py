"""`syncer db upgrade` where PostgreSQL refuses: one line that says what to do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from syncer.core.errors import ConfigError, DatabaseGone
from syncer.store.connection import Server
from syncer.store.migrate import upgrade
from tests.proxy import Proxy


@pytest.fixture
async def owner(empty_url: str) -> AsyncIterator[Any]:
    """A connection to an empty database, as a superuser."""
    async with Server(empty_url).session() as connection:
        yield connection


@pytest.fixture
async def plain(owner: Any) -> AsyncIterator[str]:
    """A login that may connect and no more."""
    name = f"plain_{os.getpid()}"
    await owner.execute(f"create role {name} login")
    yield name
    await owner.execute(f"drop owned by {name}; drop role {name}")


async def line_of(syncer: Any, url: str) -> str:
    """What the command says where it is refused: one line, exit 2."""
    done = await syncer("db", "upgrade", SYNCER_DATABASE_URL=url)
    assert (2, "", 1) == (done.code, done.out, len(done.err.splitlines())), done.err
    return str(done.err)


async def test_without_the_right_to_make_a_schema(
    empty_url: str, owner: Any, plain: str, syncer: Any
) -> None:
    """The most likely refusal of the first command: what to grant, or to hand on."""
    url = empty_url.replace("//syncer@", f"//{plain}@")
    said = await line_of(syncer, url)
    assert "permission denied for database" in said
    assert "(SQLSTATE 42501)" in said
    assert "grant create on database" in said
    assert "syncer db upgrade --sql" in said


async def test_where_the_schema_is_anothers(
    empty_url: str, owner: Any, plain: str, syncer: Any
) -> None:
    """A role that may look at it, and is not its owner."""
    await upgrade(Server(empty_url))
    await owner.execute("update syncer_store.alembic_version set version_num = '0001'")
    await owner.execute(f"grant usage on schema syncer, syncer_store to {plain}")
    await owner.execute(f"grant select on all tables in schema syncer, syncer_store to {plain}")
    url = empty_url.replace("//syncer@", f"//{plain}@")
    assert "run it as the owner" in await line_of(syncer, url)


async def test_read_only(empty_url: str, owner: Any, syncer: Any) -> None:
    """A standby, or a default of role or database."""
    name = urlsplit(empty_url).path[1:]
    await owner.execute(f"alter database {name} set default_transaction_read_only = on")
    said = await line_of(syncer, empty_url)
    assert "read-only transaction (SQLSTATE 25006)" in said
    assert "default_transaction_read_only to off" in said


async def test_without_the_contrib_package(empty_url: str, owner: Any, syncer: Any) -> None:
    """btree_gist is not there to be installed."""
    if owner.get_server_version().major < 18:
        pytest.skip("extension_control_path came with PostgreSQL 18")
    name = urlsplit(empty_url).path[1:]
    await owner.execute(f"alter database {name} set extension_control_path = '/nowhere'")
    said = await line_of(syncer, empty_url)
    assert 'extension "btree_gist" is not available' in said
    assert "postgresql-contrib" in said


async def test_what_nobody_foresaw_has_a_name(empty_url: str, owner: Any, syncer: Any) -> None:
    """An event trigger refuses: exit 1, one line, and nothing is half there."""
    await owner.execute("""
        create function public.refuse() returns event_trigger language plpgsql as $$
        begin raise exception 'not on a Friday'; end $$;
        create event trigger refuse on ddl_command_start when tag in ('CREATE VIEW')
            execute function public.refuse()""")
    try:
        done = await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)
    finally:
        await owner.execute("drop event trigger refuse")
    assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
    assert "refused: not on a Friday (SQLSTATE P0001)" in done.err
    assert None is await owner.fetchval("select to_regclass('syncer_store.runs')::text")
    assert 0 == (await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)).code


async def test_a_connection_that_is_lost_in_a_migration(empty_url: str) -> None:
    """Is a database that went away, whatever SQLAlchemy made of it."""
    async with Proxy(empty_url) as proxy:
        proxy.hook = lambda message: "before" if b"create table syncer_store" in message else None
        with pytest.raises(DatabaseGone):
            await upgrade(Server(proxy.url))
    assert None is not await upgrade(Server(empty_url))
    with pytest.raises(ConfigError, match="refused"):
        await upgrade(Server(empty_url.replace("//syncer@", "//nobody_here@")))
