"""What is read of a long history: each statement of the documents and of commands, measured.

The histories are made by ``seed``. A statement's time is the server's, planning and running, from
``explain (analyze)``: what it takes to send the rows is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from syncer.store.connection import Connection, sql
from syncer.store.schema import migrations_root

SWEEP: Final = "image_counts"
"""The function that goes through a history, and is named where a statement calls it."""
_IMAGE: Final = "img-EVhEsCuXhCN0urZ7Vt77oOr6K"
"""The image that the documents name, in whose place one of the history is put."""
_ZONE: Final = "FRA-A"
_CHANGE: Final = "120"
_BLOCK: Final = re.compile(r"^(?:### (\d+\. .*?)$|```sql\n(.*?)^```)", re.MULTILINE | re.DOTALL)
"""A heading with a number, or a block of SQL."""
_PLACE: Final = (None, None, None)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement, what it is called, and its arguments."""

    name: str
    text: str
    arguments: tuple[Any, ...] = ()


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What of a seeded history statements ask for."""

    now: datetime
    newest_change: int
    zone_id: str
    image_id: str
    image_name: str


async def look(connection: Connection) -> History:
    """Return a zone that is there, an image of it that changed, and the newest change."""
    row = await connection.fetchrow("""
        select now() as now, f.last_change_id as newest_change, i.zone_id, i.image_id, i.image_name
        from syncer.feed as f, syncer.images as i
        join syncer.zones as z using (account, service, zone_id)
        where i.presence = 'present' and z.service = 'vm' and z.last_status = 'unchanged'
        order by i.changed_at desc, i.image_id limit 1""")
    assert row is not None  # noqa: S101  (a seeded history has one)
    return History(**dict(row))


def statements(history: History) -> Iterator[Statement]:
    """Yield those of the documents, and those behind commands."""
    contract = migrations_root()
    for document in (
        contract / "queries.md",
        contract / "README.md",
        contract.parent / "README.md",
    ):
        if document.is_file():
            yield from _documented(document.read_text(), history)
    yield from _commands(history)


def _documented(text: str, history: History) -> Iterator[Statement]:
    heading = ""
    for found, block in _BLOCK.findall(text):
        heading = found or heading
        for each in re.split(r";\s*\n", block):
            statement = each.strip()
            if not re.search(r"^(select|with)\b", statement, re.MULTILINE):
                continue
            first = statement.partition("\n")[0]
            yield Statement(
                name=_called(heading or first.removeprefix("-- "), statement),
                text=statement.replace(_IMAGE, history.image_id)
                .replace(f"'{_ZONE}'", f"'{history.zone_id}'")
                .replace(f"> {_CHANGE}", f"> {history.newest_change - 100}"),
            )


def _called(name: str, statement: str) -> str:
    if SWEEP in statement:
        return f"{name.strip('?:. ')} ({SWEEP})"
    return "the feed after a change" if name == "select *" else name.strip("?:. ")


def _commands(history: History) -> Iterator[Statement]:
    now, day = history.now, timedelta(days=1)
    zone = (None, None, [f"^{history.zone_id}$"])
    newest = history.newest_change
    asked: dict[str, tuple[str, tuple[Any, ...]]] = {
        "images --zone": ("read/images", (*zone, None, None, False, None)),
        "images --image": ("read/images", (*_PLACE, [history.image_id], None, False, None)),
        "zones": ("read/zones", (*_PLACE, None)),
        "runs": ("read/runs", (None, 20)),
        "changes --limit 20": ("read/changes", (*_PLACE, None, None, True, 20, newest - 20)),
        "changes --after": ("read/feed", (*_PLACE, None, None, True, 100, newest - 100)),
        "history ID": ("read/history", (*_PLACE, history.image_id, None)),
        "history NAME": ("read/history", (*_PLACE, history.image_name, None)),
        "asof 30d --zone": ("read/asof", (*zone, None, now - 30 * day, None)),
        "diff 1d": ("read/diff", (*_PLACE, None, now - day, now)),
        "diff 30d --zone": ("read/diff", (*zone, None, now - 30 * day, now)),
        "spread --service vm": ("read/spread", (None, ["vm"], None, None, None)),
    }
    for name, (statement, arguments) in asked.items():
        yield Statement(name=f"syncer {name}", text=sql(statement), arguments=arguments)


async def read(connection: Connection, statement: Statement) -> tuple[float, int, int]:
    """Run a statement once; return the server's seconds, the pages touched, and its rows."""
    explained = f"explain (analyze, buffers, timing off, format json) {statement.text}"
    async with connection.transaction(readonly=True):
        ((found,),) = await connection.fetch(explained, *statement.arguments)
    (document,) = json.loads(found)
    plan = document["Plan"]
    return (
        (document["Planning Time"] + document["Execution Time"]) / 1000,
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        int(plan["Actual Rows"]),
    )
