"""The installed schema: which revision it is, and whether this program can work with it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import asyncpg

from syncer.core.errors import ConfigError
from syncer.store.connection import Connection, sql

_UPGRADE: Final = "run: syncer db upgrade"


def migrations_root() -> Path:
    """Return the folder of the migrations: inside the wheel, or beside the source tree."""
    shipped = Path(str(files("syncer"))) / "_migrations"
    return shipped if shipped.is_dir() else Path(__file__).resolve().parents[2] / "migrations"


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this program knows, oldest first (their files are numbered)."""
    versions = (migrations_root() / "versions").glob("[0-9]*.py")
    return tuple(sorted(path.name.split("_")[0] for path in versions))


async def installed_revision(connection: Connection) -> str | None:
    """Return the revision of the installed schema, or None where there is none."""
    try:
        revision: str | None = await connection.fetchval(sql("schema/version"))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    return revision


async def check_schema(connection: Connection, where: str) -> None:
    """Raise ConfigError unless the installed schema is the one this program was made for.

    Also where the role may not see it; DatabaseGone where the database is.
    """
    installed = await installed_revision(connection)
    known = revisions()
    if installed == known[-1]:
        return
    if installed is None:
        raise ConfigError(f"the database at {where} was never migrated; {_UPGRADE}")
    if installed in known:
        raise ConfigError(
            f"the schema of the database at {where} is {installed}, this program needs "
            f"{known[-1]}; {_UPGRADE}"
        )
    raise ConfigError(
        f"the schema of the database at {where} is {installed}, newer than this program, which "
        f"knows {known[-1]}: install a newer syncer"
    )
