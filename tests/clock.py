"""A step of the database's clock, as what is stored sees it: every stored instant moves back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

_INSTANTS = """
    select c.oid::regclass::text as table_name, a.attname as name, t.typname as type
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid
    join pg_type as t on t.oid = a.atttypid
    where c.relnamespace = 'syncer_store'::regnamespace and c.relkind = 'r'
      and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      and t.typname in ('timestamptz', '_timestamptz', 'tstzrange')
    order by 1, a.attnum"""
_MOVED = {
    "timestamptz": "{name} = {name} + $1::interval",
    "_timestamptz": "{name} = array(select one + $1::interval from unnest({name}) "
    "with ordinality as u (one, place) order by place)",
    "tstzrange": "{name} = tstzrange(lower({name}) + $1::interval, upper({name}) + $1::interval)",
}
_FAR = timedelta(days=365 * 1500)


async def instants(db: Any) -> list[Any]:
    """Every column of every table that holds instants: the table, its name, its type."""
    return list(await db.fetch(_INSTANTS))


async def step(db: Any, by: timedelta) -> None:
    """Let the database's clock step forward by an interval (back, if it is negative).

    Every instant of every table moves the other way, in two moves, so that no rule of the database
    sees a moved row beside one that is not: far away first, then to its place. ``db`` is a
    connection of a superuser.
    """
    tables: dict[str, list[str]] = {}
    for table, name, kind in await instants(db):
        tables.setdefault(table, []).append(_MOVED[kind].format(name=f'"{name}"'))
    async with db.transaction():
        await db.execute("set local session_replication_role = replica")
        for move in (_FAR, -_FAR - by):
            for table, moves in tables.items():
                await db.execute(f"update {table} set {', '.join(moves)}", move)
