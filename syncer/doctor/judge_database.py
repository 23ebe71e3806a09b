"""PostgreSQL as it was found: the server, the schema, the extension, what the role may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from syncer.doctor.finding import Finding, failed, listed, number, ok, size, skipped, warning

UPGRADE: Final = "as the schema's owner, run: syncer db upgrade"


class ServerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself and of our session."""

    version: str
    standby: bool
    read_only: bool
    role: str
    database: str


def server(seen: ServerSeen, where: str, took: float) -> Finding:
    """Judge whether it can be written at all."""
    said = (
        f"PostgreSQL {seen.version.split()[0]} at {where}, database {seen.database}, "
        f"role {seen.role}"
    )
    if seen.standby:
        return failed(
            "database", f"{said}: a standby, which cannot be written", "point it at the primary"
        )
    if seen.read_only:
        return failed(
            "database",
            f"{said}: its transactions are read-only by default",
            "set default_transaction_read_only to off for this role, database or server",
        )
    return ok("database", f"{said} ({took * 1000:.0f} ms)")


def schema(installed: str | None, known: Sequence[str], *, embedded: bool) -> Finding:
    """Judge the schema's revision by those that this program knows, oldest first."""
    needed = known[-1]
    if installed == needed:
        return ok("schema", f"{installed}, as this program needs it")
    if installed is not None and installed not in known:
        return failed(
            "schema",
            f"{installed}: newer than this program, which knows {needed}",
            "install a newer syncer",
        )
    if embedded:
        was = f"{installed}: " if installed else ""
        return skipped("schema", f"{was}the next command that uses it brings it to {needed}")
    if installed is None:
        return failed("schema", "was never migrated", UPGRADE)
    return failed("schema", f"{installed}: this program needs {needed}", UPGRADE)


def extension(installed: str | None, available: str | None, *, migrated: bool) -> Finding:
    """Judge btree_gist, without which intervals that overlap could not be forbidden."""
    if installed is not None:
        return ok("extension", f"btree_gist {installed}")
    if available is None:
        return failed(
            "extension",
            "btree_gist is not there to be installed",
            "install PostgreSQL's contrib package on the server (postgresql-contrib)",
        )
    if migrated:
        return failed(
            "extension",
            "btree_gist is gone, and with it what keeps versions from overlapping",
            "restore the database, or dump the data and let syncer db upgrade make it anew",
        )
    return ok("extension", f"btree_gist {available} is there; syncer db upgrade installs it")


class PrivilegesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the role lacks (names by privilege) of what ``syncer_writer`` has, and what beyond."""

    role: str
    superuser: bool
    creates_roles: bool
    objects: int
    lacks: Mapping[str, Sequence[str]]


def privileges(seen: PrivilegesSeen, *, embedded: bool) -> Finding:
    """Judge whether the role can do what a sync does, and how much more it could."""
    if not seen.objects:
        return skipped("privileges", "nothing is there yet")
    if seen.lacks:
        lacks = "; ".join(
            f"{privilege} on {listed([name.removeprefix('syncer_store.') for name in names], 3)}"
            for privilege, names in seen.lacks.items()
        )
        return failed(
            "privileges",
            f"role {seen.role} cannot sync, it lacks {lacks}",
            f"as the owner: syncer db roles, then: grant syncer_writer to {_quoted(seen.role)}",
        )
    powers = [
        name
        for name, has in (("a superuser", seen.superuser), ("creates roles", seen.creates_roles))
        if has
    ]
    if powers and not embedded:
        return warning(
            "privileges",
            f"role {seen.role} can sync, but it is much more than that: {' and '.join(powers)}",
            "sync as a role of its own: syncer db roles, then: create role my_syncer login in "
            "role syncer_writer",
        )
    return ok("privileges", f"role {seen.role} can do all that a sync does")


def _quoted(name: str) -> str:
    """Return a role's name as SQL has it."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


def history(tables: Sequence[tuple[str, int]]) -> Finding:
    """Tell how much room what is stored takes."""
    total = sum(octets for _, octets in tables)
    largest = ", ".join(f"{name} {size(octets)}" for name, octets in tables[:3])
    return ok("history", f"{size(total)} in {number(len(tables), 'table')}: {largest}, ...")
