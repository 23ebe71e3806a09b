"""Opening the configured PostgreSQL: a server that is there, or the embedded one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from syncer.config.settings import Database
from syncer.store.connection import Server, reading_transaction
from syncer.store.schema import check_schema, installed_revision, revisions


@contextlib.asynccontextmanager
async def open_server(database: Database) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL: start the embedded one and bring its schema up to date.

    A database given by URL or PG* variables is left as it is: only ``syncer db upgrade``
    changes its schema.
    """
    if not database.embedded:
        yield Server(database.url.reveal() if database.url else None)
        return
    from syncer.embedded import EmbeddedPostgres  # noqa: PLC0415  (start-up: only where used)

    async with EmbeddedPostgres(database.home, pg_bin=database.pg_bin) as postgres:

        async def revive() -> str:
            await postgres.revive()
            return postgres.dsn()

        server = Server(postgres.dsn(), revive=revive)
        async with server.session() as connection:
            installed = await installed_revision(connection)
        if installed is None or installed in revisions()[:-1]:
            from syncer.store.migrate import upgrade  # noqa: PLC0415

            await upgrade(server)
        yield server


@contextlib.asynccontextmanager
async def open_emptied(database: Database) -> AsyncIterator[Server]:
    """Open the embedded PostgreSQL with all it held dropped, whoever was connected to it."""
    from syncer.embedded import EmbeddedPostgres  # noqa: PLC0415

    async with EmbeddedPostgres(database.home, pg_bin=database.pg_bin) as postgres:
        async with Server(postgres.dsn("postgres")).session() as connection:
            await connection.execute("drop database if exists syncer with (force)")
            await connection.execute("create database syncer")
        async with open_server(database) as server:
            yield server


@contextlib.asynccontextmanager
async def open_store(database: Database) -> AsyncIterator[Server]:
    """Open the configured PostgreSQL for reading; its schema must be this program's."""
    async with open_server(database) as server:
        async with server.reading() as connection, reading_transaction(connection):
            await check_schema(connection, server.where)
        yield server
