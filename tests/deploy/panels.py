"""The dashboards as Grafana would read them: panels, their SQL, and what it becomes when it is run.

What Grafana does is taken from its PostgreSQL data source (``macros.go``, ``sql_engine_pgx.go``):
the browser puts in the variables, the server ``$__interval`` and the macros. A single value of a
variable is quoted by some versions and not by others, so only ``${name:sqlstring}`` is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

GRAFANA: Final = Path(__file__).parents[2] / "deploy" / "grafana"
VARIABLE: Final = re.compile(r"\$\{(\w+)(?::(\w+))?(?:\.[^}]*)?\}|\[\[(\w+)|\$(?!__)([A-Za-z]\w*)")
ALL: Final = "$__all"
_MACRO: Final = re.compile(r"\$(\w+)\(([^)]*)\)")
_MULTIPLES: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Values = Mapping[str, str | list[str]]


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by the name of their file."""
    found = sorted((GRAFANA / "dashboards").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in found}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something, those in folded rows too."""
    every = [p for panel in dashboard["panels"] for p in (panel, *panel.get("panels", ()))]
    return [panel for panel in every if panel["type"] != "row"]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One statement of a dashboard: of a panel, of a variable, or of an annotation."""

    dashboard: str
    title: str
    raw: str
    format: str
    panel: dict[str, Any] | None = None
    """The panel that shows it."""

    def __str__(self) -> str:
        """Return what it is called in a table."""
        return f"{self.dashboard}: {self.title}"


def queries() -> Iterator[Query]:
    """Yield every statement of every dashboard."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                if "rawSql" not in target:
                    continue  # of Prometheus
                yield Query(
                    dashboard=name,
                    title=panel["title"],
                    raw=target["rawSql"],
                    format=target["format"],
                    panel=panel,
                )
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                title = f"variable {variable['name']}"
                yield Query(dashboard=name, title=title, raw=variable["query"], format="table")
        for annotation in dashboard["annotations"]["list"]:
            if target := annotation.get("target"):
                yield Query(
                    dashboard=name,
                    title=f"annotation {annotation['name']}",
                    raw=target["rawSql"],
                    format=target["format"],
                )


def defaults(dashboard: dict[str, Any]) -> dict[str, str | list[str]]:
    """Return what the variables of a dashboard are set to when it is opened."""
    return {v["name"]: v["current"]["value"] for v in dashboard["templating"]["list"]}


def expand(
    query: Query,
    chosen: Values,
    since: datetime,
    until: datetime,
    interval: str,
    *,
    search: str = "",
) -> str:
    """Return the statement that PostgreSQL gets, for a choice of variables and a time range.

    ``search`` is what was typed to find a value of a variable: some versions double its quotes.
    """
    variables = {v["name"]: v for v in dashboards()[query.dashboard]["templating"]["list"]}

    def put(match: re.Match[str]) -> str:
        name, form = match[1] or match[3] or match[4], match[2]
        values = chosen[name]
        if values in (ALL, [ALL]):
            return str(variables[name]["allValue"])  # as it stands, whatever the form
        if form != "sqlstring":
            raise ValueError(f"{query}: {match[0]} is not quoted alike by all versions")
        values = [values] if isinstance(values, str) else values
        return ",".join("'" + value.replace("'", "''") + "'" for value in values)

    times = [at.isoformat().replace("+00:00", "Z") for at in (since, until)]
    statement = VARIABLE.sub(put, query.raw).replace("$__searchFilter", search + "%")
    statement = statement.replace("$__interval_ms", str(_seconds(interval) * 1000))
    statement = statement.replace("$__interval", interval)
    return _MACRO.sub(lambda match: _macro(match[1], match[2], *times), statement)


def _macro(name: str, arguments: str, since: str, until: str) -> str:
    column, *rest = (argument.strip() for argument in arguments.split(","))
    match name:
        case "__timeFilter":
            return f"{column} BETWEEN '{since}' AND '{until}'"
        case "__timeFrom":
            return f"'{since}'"
        case "__timeTo":
            return f"'{until}'"
        case "__timeGroup" | "__timeGroupAlias":
            seconds = _seconds(rest[0].strip("'"))
            group = f"floor(extract(epoch from {column})/{seconds})*{seconds}"
            return group + (' AS "time"' if name.endswith("Alias") else "")
        case "__unixEpochFrom" | "__unixEpochTo":
            at = since if name.endswith("From") else until
            return str(int(datetime.fromisoformat(at).timestamp()))
        case _:
            raise ValueError(f"no such macro: ${name}")


def _seconds(interval: str) -> int:
    return int(interval[:-1]) * _MULTIPLES[interval[-1]]
