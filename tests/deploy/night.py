"""A night planted by hand (``tests/data/panels.sql``), and what panels say of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from syncer.store.connection import sql
from tests.deploy.panels import Query, dashboards, defaults, expand, queries

NIGHT: Final = (Path(__file__).parents[1] / "data" / "panels.sql").read_text()
DASHBOARDS: Final = dashboards()
PANELS: Final = {str(query): query for query in queries() if query.panel is not None}


class Night:
    """A database with the night in it, read as Grafana reads it."""

    def __init__(
        self, reader: Any, begin: datetime, now: datetime, until: datetime | None = None
    ) -> None:
        self.reader, self.begin, self.now = reader, begin, now
        self.until = until or min(now, self.at(12) - timedelta(microseconds=1))

    def since(self, begin: datetime) -> Night:
        """Return the same, read from a later instant on."""
        return Night(self.reader, begin, self.now, self.until)

    def at(self, hour: float, minute: float = 0) -> datetime:
        """Return an instant of it."""
        return self.begin + timedelta(hours=hour, minutes=minute)

    def age(self, hour: float, minute: float = 0) -> Any:
        """Return how many seconds ago that was; the statement asks a moment later."""
        return pytest.approx((self.now - self.at(hour, minute)).total_seconds(), abs=30)

    def share(self, hour: float, minute: float, of_seconds: float) -> Any:
        """Return the age as a share of what is allowed."""
        return pytest.approx(
            (self.now - self.at(hour, minute)).total_seconds() / of_seconds, abs=0.02
        )

    @contextlib.asynccontextmanager
    async def but(self, change: str) -> AsyncIterator[None]:
        """Change something, by its owner; it is taken back."""
        transaction = self.reader.transaction()
        await transaction.start()
        try:
            await self.reader.execute(f"set local role none; {change}")
            await self.reader.execute("set local role syncer_reader")
            yield
        finally:
            await transaction.rollback()

    async def rows(self, name: str, **chosen: list[str] | str) -> list[dict[str, Any]]:
        """Return what a panel gets of the time from hour 0 to now, in hours.

        Not of hour 12, which begins while it is planted or read some minutes after a full hour.
        """
        query: Query = PANELS[name]
        choice = defaults(DASHBOARDS[query.dashboard]) | chosen
        statement = expand(query, choice, self.begin, self.until, "1h")
        return [
            {name: float(v) if isinstance(v, Decimal) else v for name, v in row.items()}
            for row in await self.reader.fetch(statement)
        ]

    async def table(self, name: str, columns: str, **chosen: list[str] | str) -> list[Any]:
        """Return some columns of a panel's rows."""
        rows = await self.rows(name, **chosen)
        return [tuple(row[column] for column in columns.split()) for row in rows]

    async def series(self, name: str, **chosen: str) -> dict[str, dict[int, Any]]:
        """Return the lines of a panel: their values by hour."""
        lines: dict[str, dict[int, Any]] = {}
        for row in await self.rows(name, **chosen):
            time = row.pop("time")
            time = time.timestamp() if isinstance(time, datetime) else float(time)
            hour = round((time - self.begin.timestamp()) / 3600)
            metric = row.pop("metric", None)
            for column, value in row.items():
                if value is not None:
                    lines.setdefault(metric or column, {})[hour] = pytest.approx(float(value))
        return lines


async def plant(connection: Any) -> datetime:
    """Fill an empty, migrated database; become its reader, and return when hour 0 began."""
    await connection.execute(NIGHT)
    begin: datetime = await connection.fetchval("select pg_temp.h(0)")
    await connection.execute(sql("schema/roles"))
    await connection.execute(
        "analyze; set role syncer_reader; set search_path to ''; set timezone to 'UTC'"
    )
    return begin.astimezone(UTC)
