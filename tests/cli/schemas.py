"""Write the JSON Schemas of ``syncer/cli/schemas/``: what commands print with -o json and ndjson.

``make schema`` runs it. Columns and types are those of the statements and structures from which the
commands print; the descriptions are the comments of the views. What no type says stands here:
which columns are never null, and which texts are one of a few.
"""

from __future__ import annotations

import sys
import tempfile
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import msgspec

from syncer.cli.prune import COLUMNS as PRUNE_COLUMNS
from syncer.cli.sync import PLANNED_COLUMNS, RECORD_COLUMNS
from syncer.core.pins import PinAnswer
from syncer.doctor.finding import Finding
from syncer.embedded import EmbeddedPostgres
from syncer.store.clock_repair import Repaired
from syncer.store.connection import Server, sql
from syncer.store.migrate import upgrade
from syncer.store.runs import Counts

FOLDER: Final = Path(__file__).parents[2] / "syncer/cli/schemas"
Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
OBJECT: Final[Schema] = {"type": "object"}
TEXTS: Final[Schema] = {"type": "array", "items": {"type": ["string", "null"]}}
OF_POSTGRES: Final[Mapping[str, Schema]] = {
    "text": TEXT,
    "timestamptz": TIME,
    "int4": WHOLE,
    "int8": WHOLE,
    "numeric": NUMBER,
    "float8": NUMBER,
    "bool": FLAG,
    "jsonb": OBJECT,
    "bytea": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    "text[]": TEXTS,
}
OF_PYTHON: Final[Mapping[object, Schema]] = {
    str: TEXT,
    datetime: TIME,
    int: WHOLE,
    float: NUMBER,
    bool: FLAG,
    dict: OBJECT,
    tuple: TEXTS,
    list: TEXTS,
}

IMAGE: Final = ("account", "service", "zone_id", "image_id")
PRESENCE: Final = ("present", "absent", "unknown")
KINDS: Final = ("appeared", "changed", "removed", "returned")
SEVERITIES: Final = ("breaking", "cosmetic")
SCANS: Final = ("unchanged", "changed", "incomplete", "failed", "guarded", "gone")
ENDS: Final = ("succeeded", "partial", "failed")


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What a command prints: rows of a ``statement`` or of ``columns`` with their types.

    ``always`` are the columns that are never null, ``one_of`` the texts that others may be,
    ``replaced`` the types of those for which the statement's is not the one that is printed.
    """

    statement: str | None = None
    view: str | None = None
    columns: Mapping[str, Schema] = {}
    always: Sequence[str] = ()
    one_of: Mapping[str, Sequence[str]] = {}
    replaced: Mapping[str, Schema] = {}


def of_struct(kind: type[msgspec.Struct], **replaced: Schema) -> dict[str, Schema]:
    """The columns of a structure, and their types without null."""
    hints = typing.get_type_hints(kind)
    found: dict[str, Schema] = {}
    for name in kind.__struct_fields__:
        hint = hints[name]
        if isinstance(hint, types.UnionType):
            (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
        if typing.get_origin(hint) is typing.Literal:
            hint = str
        found[name] = replaced.get(name) or OF_PYTHON[typing.get_origin(hint) or hint]
    return found


COUNTS: Final = Counts.__struct_fields__
COMMANDS: Final[Mapping[str, Rows]] = {
    "images": Rows(
        statement="read/images",
        view="images",
        always=(*IMAGE, "presence", "first_seen_at", "changed_at"),
        one_of={"presence": PRESENCE},
    ),
    "zones": Rows(
        statement="read/zones",
        view="zones",
        always=(
            *IMAGE[:3],
            *("first_seen_at", "last_seen_at", "present_images", "withheld_removals", "listed"),
        ),
        one_of={"last_status": SCANS},
    ),
    "runs": Rows(
        statement="read/runs",
        view="runs",
        always=(
            *("run_id", "account", "started_at", "deadline_at", "status", "syncer_version"),
            *COUNTS,
        ),
        one_of={"status": ("running", *ENDS, "crashed")},
    ),
    "changes": Rows(
        statement="read/feed",
        view="image_changes",
        always=("change_id", "changed_at", "kind", *IMAGE, "changed_fields", "run_id"),
        one_of={"kind": KINDS, "severity": SEVERITIES},
    ),
    "history": Rows(
        statement="read/history",
        view="image_changes",
        always=("changed_at", "kind", *IMAGE, "changed_fields"),
        one_of={
            "kind": (*KINDS, "missing", "withheld", "seen", "unknown"),
            "severity": SEVERITIES,
        },
    ),
    "diff": Rows(
        statement="read/diff",
        always=("kind", *IMAGE[:3], "changed_fields"),
        one_of={"kind": ("appeared", "changed", "removed", "unknown")},
    ),
    "asof": Rows(statement="read/asof", always=(*IMAGE, "valid_from")),
    "spread": Rows(
        statement="read/spread",
        view="image_spread",
        always=(
            *("account", "service", "image_name", "differs", "zones", "missing_zones"),
            *("image_versions", "image_sizes", "image_statuses", "image_ids", "offers"),
        ),
        replaced={"offers": {"type": "array", "items": OBJECT}},
    ),
    "check": Rows(
        columns=of_struct(PinAnswer),
        always=("status", "zone_id", "image_id", "changed_fields"),
        one_of={"status": ("present", "changed", "removed", "unknown")},
    ),
    "baseline list": Rows(
        statement="baseline/list",
        view="baselines",
        always=("name", "as_of", "saved_at", "saved_by", "filters", "images"),
    ),
    "doctor": Rows(
        columns=of_struct(Finding),
        always=("check", "status", "message"),
        one_of={"status": ("ok", "warning", "failed", "skipped")},
    ),
    "sync": Rows(
        columns=dict.fromkeys(RECORD_COLUMNS, TEXT)
        | dict.fromkeys(("run_id", "exit_code", *COUNTS), WHOLE)
        | {"seconds": NUMBER},
        always=("account", "status", "exit_code"),
        one_of={"status": (*ENDS, "held")},
    ),
    "sync --dry-run": Rows(
        columns=dict.fromkeys(PLANNED_COLUMNS, TEXT)
        | {"changed_fields": TEXTS, "before": OBJECT, "after": OBJECT},
        always=(*IMAGE, "kind", "changed_fields"),
        one_of={"kind": (*KINDS, "withheld")},
    ),
    "prune": Rows(
        columns=dict.fromkeys(PRUNE_COLUMNS, TEXT) | {"rows": WHOLE},
        always=PRUNE_COLUMNS,
    ),
    "db status": Rows(
        columns=dict.fromkeys(("database", "server_version", "installed", "needed", "state"), TEXT),
        always=("database", "server_version", "needed", "state"),
    ),
    "db repair-clock": Rows(columns=of_struct(Repaired), always=("account", "stamps", "timed")),
}
"""Every command that prints rows."""


def file_of(command: str) -> Path:
    """The file of a command's schema."""
    return FOLDER / f"{'-'.join(word.lstrip('-') for word in command.split())}.json"


async def schema_of(command: str, connection: asyncpg.Connection[Any]) -> Schema:
    """The schema of what a command prints."""
    rows = COMMANDS[command]
    columns = dict(rows.columns)
    if rows.statement is not None:
        prepared = await connection.prepare(sql(rows.statement))
        columns = {a.name: OF_POSTGRES[a.type.name] for a in prepared.get_attributes()}
    comments = {} if rows.view is None else await comments_of(rows.view, connection)
    properties = {}
    for name, kind in columns.items():
        one = dict(rows.replaced.get(name, kind))
        if name in rows.one_of:
            one["enum"] = list(rows.one_of[name])
        if name not in rows.always:
            one["type"] = [one["type"], "null"]
            if "enum" in one:
                one["enum"].append(None)
        properties[name] = one | ({"description": comments[name]} if name in comments else {})
    assert {*rows.always, *rows.one_of, *rows.replaced} <= columns.keys(), command
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"syncer {command}",
        "description": "A line of -o ndjson, or the array of -o json. There may be more columns "
        "in a later version.",
        "oneOf": [
            {"$ref": "#/$defs/row"},
            {"type": "array", "items": {"$ref": "#/$defs/row"}},
        ],
        "$defs": {
            "row": {"type": "object", "properties": properties, "required": list(properties)}
        },
    }


async def comments_of(view: str, connection: asyncpg.Connection[Any]) -> dict[str, str]:
    """What the columns of a view mean, as far as it is said there."""
    rows = await connection.fetch(
        """select attname, col_description(attrelid, attnum) as text from pg_attribute
        where attrelid = ('syncer.' || $1)::regclass and attnum > 0""",
        view,
    )
    return {row["attname"]: row["text"] for row in rows if row["text"]}


def printed(schema: Schema) -> str:
    """A schema as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(schema)).decode() + "\n"


async def main() -> None:
    """Write the schemas by an embedded server."""
    with tempfile.TemporaryDirectory() as home:
        async with EmbeddedPostgres(Path(home)) as postgres:
            await upgrade(Server(postgres.dsn()))
            connection = await asyncpg.connect(postgres.dsn())
            for command in COMMANDS:
                file_of(command).write_text(printed(await schema_of(command, connection)))
            await connection.close()


if __name__ == "__main__":
    sys.exit(anyio.run(main))
