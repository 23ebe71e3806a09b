"""What tests of the store share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from syncer.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
async def fresh(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Any]:
    """A connection to a migrated database, for tests that leave it empty."""
    admin = await asyncpg.connect(postgres.dsn("postgres"))
    await admin.execute(f"create database fresh template {template}")
    connection = await asyncpg.connect(postgres.dsn("fresh"))
    yield connection
    await connection.close()
    await admin.execute("drop database fresh with (force)")
    await admin.close()
