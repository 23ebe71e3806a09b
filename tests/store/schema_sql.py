"""Write ``migrations/schema.sql`` and ``views.md``: what all migrations come to, for reading.

``make schema`` runs it. It is PostgreSQL's own description (pg_dump) of a database that was just
migrated, without what does not belong to the schema. Each major prints views in its own way, so it
is made by one: ``MAJOR``, that of the embedded PostgreSQL.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import anyio
import asyncpg

from syncer.embedded import EmbeddedPostgres, find_binaries
from syncer.store.connection import Server
from syncer.store.migrate import upgrade

MAJOR: Final = 18
FILE: Final = Path(__file__).parents[2] / "migrations/schema.sql"
VIEWS: Final = FILE.parent / "views.md"
_HEADER: Final = """\
-- The schema as it is after all migrations. Made by `make schema`, for reading: it is never run.
-- syncer holds the contract (see README.md), syncer_store the tables behind it.
"""
_NOISE: Final = re.compile(r"^(\\(un)?restrict|SET |SELECT pg_catalog\.set_config|--$|-- Post)")
_TITLE: Final = re.compile(r"-- Name: (.*); Type: (.*); Schema: (.*); Owner: .*")


def schema_of(dsn: str, directory: Path) -> str:
    """Return the description of a migrated database by the pg_dump in a directory."""
    dump = subprocess.run(
        [
            directory / "pg_dump",
            *("--schema-only", "--no-owner", "--no-privileges"),
            *("--schema=syncer", "--schema=syncer_store"),
            "--exclude-table=syncer_store.alembic_version",
            dsn,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    _, _, body = dump.stdout.partition("SET row_security = off;\n")
    lines = [_titled(line) for line in body.splitlines() if not _NOISE.match(line)]
    text = "\n".join(line for line in lines if line is not None)
    return _HEADER + "\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _titled(line: str) -> str | None:
    """Shorten the title of an object; a comment stands under the title of what it is about."""
    title = _TITLE.fullmatch(line)
    if title is None:
        return line
    name, kind, schema = title.groups()
    if kind == "COMMENT":
        return None
    return f"-- {kind.lower()} {'' if schema == '-' else schema + '.'}{name}"


_VIEWS: Final = r"""
    select c.relname as view, obj_description(c.oid, 'pg_class') as is, a.attname as column,
           replace(format_type(a.atttypid, null), 'timestamp with time zone', 'timestamptz')
               as type,
           replace(col_description(c.oid, a.attnum), '|', '\|') as means
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'syncer'::regnamespace
    order by c.relname, a.attnum"""
_VIEWS_HEADER: Final = """\
# The views, column by column

Made by `make schema` from the comments in the database, which tools for SQL and BI show too. What
the views are for, and how they hang together: [README.md](README.md).
"""


async def views_of(dsn: str) -> str:
    """Return the page of the views of a migrated database: what each and its columns mean."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(_VIEWS)
    await connection.close()
    lines = [_VIEWS_HEADER]
    for view, columns in itertools.groupby(rows, lambda row: row["view"]):
        listed = list(columns)
        lines += [f"## `{view}`\n", f"{listed[0]['is']}.\n", "| column | type | meaning |"]
        lines += ["|---|---|---|"]
        lines += [f"| `{row['column']}` | {row['type']} | {row['means']} |" for row in listed]
        lines.append("")
    return "\n".join(lines)


async def main() -> None:
    """Write the files."""
    programs = find_binaries(None)
    if programs.major != MAJOR:
        sys.exit(f"schema.sql is made by PostgreSQL {MAJOR}; found {programs.major}")
    with tempfile.TemporaryDirectory() as home:
        async with EmbeddedPostgres(Path(home), die_with_parent=True) as server:
            await upgrade(Server(server.dsn()))
            FILE.write_text(schema_of(server.dsn(), programs.directory))
            VIEWS.write_text(await views_of(server.dsn()))


if __name__ == "__main__":
    anyio.run(main)
