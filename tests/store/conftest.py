"""What tests of the store share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support import Migrated, connected


@pytest.fixture(scope="module")
async def fresh(migrated: Migrated) -> AsyncIterator[Any]:
    """A connection to a migrated database, for tests that leave it empty."""
    async with migrated.copy() as url, connected(url) as connection:
        yield connection
