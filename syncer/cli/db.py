"""``syncer db``: the schema of the database, its address, roles, stamps; backups and moves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import click
import msgspec

from syncer.cli.columns import count, time, whole
from syncer.cli.command import Group
from syncer.cli.common import output_option, run, say, settings
from syncer.cli.output import each, replacing, write
from syncer.config.machine import operator
from syncer.config.parsers import database_url
from syncer.config.settings import address_of
from syncer.secrets import mask
from syncer.store import queue
from syncer.store.connection import reading_transaction, sql
from syncer.store.open import Moved, move_to_server, move_up, open_made, open_server, open_store
from syncer.store.open import dump as write_dump
from syncer.store.schema import installed_revision, revisions


@click.group(cls=Group)
def db() -> None:
    """Manage the database: schema, address, roles, stamps, backups, moves."""


@db.command()
@click.option("--sql", "as_sql", is_flag=True, help="Print the statements instead of running them.")
@click.option(
    "--queue", "of_queue", is_flag=True, help="With --sql: those of the workers' queue, made anew."
)
@run
async def upgrade(as_sql: bool, of_queue: bool) -> None:
    """Bring the schema up to date. Who reads meanwhile waits.

    Where the extra 'distributed' is installed, also the schema syncer_queue, for 'syncer worker'.
    """
    from syncer.store import migrate  # noqa: PLC0415  (start-up: Alembic is slow to load)

    if of_queue and not as_sql:
        raise click.UsageError("--queue goes with --sql; without, the queue is upgraded as well")
    if as_sql:
        click.echo(queue.as_sql() if of_queue else migrate.as_sql(), nl=False)
        return
    async with open_server(settings().database) as server:
        before, after = await migrate.upgrade(server)
        if before == after:
            say(f"The schema at {server.where} is up to date ({after}).")
        else:
            say(f"The schema at {server.where} was {before or 'missing'}, now it is {after}.")


@db.command()
@click.option("--drop", is_flag=True, help="Print the statements that drop them.")
@run
async def dependents(drop: bool) -> None:
    """Print statements that make again what of yours stands in the way of an upgrade.

    Views, functions and policies that depend on what the upgrade makes anew, with their owners,
    grants, comments, indexes, triggers and rules.
    """
    from syncer.store import migrate  # noqa: PLC0415  (start-up: Alembic is slow to load)

    async with open_made(settings().database) as server:
        found = await migrate.dependents(server)
    for one in reversed(found) if drop else found:
        statements = one.drop if drop else one.make
        click.echo(statements or f"-- Not known here: {one.described}")


@db.command()
@output_option
@run
async def status(output: str | None) -> int:
    """Show which schema is installed; exit 2 unless it is the one this program needs."""
    async with open_made(settings().database, as_it_is=True) as server:
        async with server.reading(name="syncer db status") as connection:
            async with reading_transaction(connection):
                installed = await installed_revision(connection)
            version, *_ = connection.get_settings().server_version.split()
        needed = revisions()[-1]
        if installed == needed:
            state = "up to date"
        elif installed is None:
            state = "never migrated: run syncer db upgrade"
        elif installed in revisions():
            state = "behind: run syncer db upgrade"
        else:
            state = "newer than this program: install a newer syncer"
        record = {
            "database": server.where,
            "server_version": version,
            "installed": installed,
            "needed": needed,
            "state": state,
        }
        table = [
            whole(name, name.upper().replace("_", " "), title=not at)
            for at, name in enumerate(record)
        ]
        await write(each([record]), list(record), output, table=table)
    return 0 if installed == needed else 2


@db.command()
@click.option("--hold", is_flag=True, help="Keep the embedded server running until Ctrl-C.")
@run
async def url(hold: bool) -> None:
    """Print where the database is (a password is masked)."""
    database = settings().database
    async with open_made(database) as server:
        say(mask(server.url) if server.url else server.where)
        if hold and database.embedded:
            click.echo("The embedded PostgreSQL runs until Ctrl-C.", err=True)
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    return
        elif database.embedded:
            click.echo(
                "It is the embedded PostgreSQL, which runs while a command uses it. To connect "
                "with psql, keep it running: syncer db url --hold",
                err=True,
            )


@db.command()
@click.option("--sql", "as_sql", is_flag=True, help="Print the statements instead of running them.")
@run
async def roles(as_sql: bool) -> None:
    """Create the roles syncer_writer and syncer_reader and grant them what they need."""
    for_superuser = sql("schema/advisory_locks")
    if as_sql:
        click.echo(sql("schema/roles"))
        click.echo(sql("schema/queue_roles"))
        click.echo("".join(f"-- {line}\n" for line in for_superuser.splitlines()), nl=False)
        return
    async with open_store(settings().database) as server:
        async with server.session(name="syncer db roles") as connection, connection.transaction():
            await connection.execute(sql("schema/roles"))
            await connection.execute(sql("schema/queue_roles"))
        say(
            f"Roles syncer_writer and syncer_reader are ready at {server.where}. "
            "Give them to login roles: grant syncer_reader to my_dashboard;"
        )
        click.echo(
            "Whoever may connect can fill the server's lock table, and keep pg_dump waiting; "
            "a superuser prevents that:\n\n" + for_superuser,
            nl=False,
        )


@db.command()
@click.option(
    "-f",
    "--file",
    metavar="FILE",
    show_default="stdout",
    help="Where to: it is replaced when all is written.",
)
@run
async def dump(file: str | None) -> None:
    """Write a backup of the inventory with its constraints.

    It is made by pg_dump and restored by pg_restore: deploy/README.md says how. Runs may go on
    meanwhile. Other things in the database are not in it, and grants are not: syncer db roles.
    """
    database = settings().database
    if file is not None:
        path = Path(file)
        with replacing(path) as output:
            await write_dump(database, output)
            size = os.fstat(output.fileno()).st_size
        say(f"Written to {path} ({size:,} bytes).", err=True)
        return
    if sys.stdout.isatty():
        raise click.UsageError("a backup is no text: name a file with --file, or redirect stdout")
    await write_dump(database, sys.stdout.buffer)


@db.command()
@click.option(
    "--to",
    metavar="URL",
    show_default="that, else the embedded server's own version",
    help="Server to move it to; a password is safer in SYNCER_DATABASE_URL.",
)
@click.option(
    "--programs",
    metavar="DIR",
    show_default="where packages put them",
    help="Programs of the version that it is of, if not found by itself.",
)
@run
async def move(to: str | None, programs: str | None) -> None:
    """Move the embedded inventory to a version or a server.

    Into the version of PostgreSQL that syncer has now, or to a server. It is copied, compared row
    by row, and only then used; the old one is kept under another name. No command may be at work
    in it. Cut short, nothing is lost: give the command again.
    """
    database = settings().database
    if to is not None:
        try:
            url = database_url(to)
            database = msgspec.structs.replace(database, url=url, address=address_of(url))
        except ValueError as error:
            raise click.UsageError(f"--to: {error}") from None
    if database.embedded:
        moved = await move_up(database, programs)
        if moved is None:
            click.echo(
                "The embedded inventory is of this version already (SYNCER_PG_BIN's, if that is "
                "set): nothing to move. To a server: --to URL"
            )
            return
    else:
        moved = await move_to_server(database, programs)
    for line in _summary(moved, to_server=not database.embedded):
        say(line)


def _summary(moved: Moved, *, to_server: bool) -> Iterator[str]:
    copied = moved.copied
    if copied is None or not copied.anew:
        yield f"All had been moved from {moved.source} to {moved.target} already."
    else:
        yield (
            f"Moved {copied.rows:,} rows of {len(copied.tables)} tables from {moved.source} to "
            f"{moved.target}; compared row by row, they are the same."
        )
    if copied is not None and copied.left_out:
        yield f"Not moved, as it is not syncer's: {', '.join(copied.left_out)}."
    yield f"The old one is kept in {moved.kept}: remove it when you are satisfied."
    if to_server:
        yield (
            "Set SYNCER_DATABASE_URL to the server wherever syncer runs; without it, commands here "
            "end with 2. For logins that are not the owner: syncer db roles."
        )


@db.command("repair-clock")
@click.option("--yes", is_flag=True, help="Do it; without, only show what would be done.")
@output_option
@run
async def repair_clock(yes: bool, output: str | None) -> None:
    """Put right what was stamped while the database's clock was ahead of the time.

    Stamps that are later than the clock go to when they were made, as far as that is known, and
    keep their order. All accounts are repaired at once; what the stamps were is kept in the view
    clock_repairs. The database's clock must be right by now: it is compared with this host's and
    with the API's.
    """
    from syncer import app  # noqa: PLC0415  (start-up: aiohttp)

    done = await app.repair_clock(settings(), by=operator() if yes else None)
    table = [
        whole("account", "ACCOUNT", title=True),
        count("stamps", "STAMPS"),
        count("timed", "TIMED"),
        time("old_from", "FROM"),
        time("old_to", "TO"),
        time("new_from", "NEW FROM"),
        time("new_to", "NEW TO"),
    ]
    rows = [msgspec.structs.asdict(account) for account in done.accounts]
    nothing = f"Nothing is stamped later than the clock ({done.at:%Y-%m-%d %H:%M:%S}Z)."
    names = [column.name for column in table]
    await write(each(rows), names, output, table=table, empty=nothing)
    if rows and not yes:
        click.echo("Nothing was changed. To do this: syncer db repair-clock --yes", err=True)
