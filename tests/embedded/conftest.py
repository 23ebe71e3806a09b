"""Homes of embedded servers, and other processes that use them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.embedded.tools import Guest, embedded, nothing_runs, passable


@pytest.fixture
def place() -> Iterator[Path]:
    """Where a home can be made; nothing may run there afterwards."""
    with passable() as empty:
        yield empty
        nothing_runs(empty)


@pytest.fixture(scope="session")
async def shared_home(
    anyio_backend: str,
) -> AsyncIterator[Path]:
    """A home with a data directory: making one, or even copying it, is most of a first start."""
    with passable() as home:
        async with embedded(home):
            pass
        yield home


@pytest.fixture
def home(shared_home: Path) -> Iterator[Path]:
    """A home that was used before, for tests that leave it usable; nothing may run there after."""
    yield shared_home
    nothing_runs(shared_home)
    if os.geteuid() == 0:
        for path in (shared_home, *shared_home.rglob("*")):
            os.chown(path, 0, 0, follow_symlinks=False)


@pytest.fixture
def guest() -> Iterator[Callable[..., Guest]]:
    """Starts other processes that use a server."""
    guests = []

    def start(
        home: Path,
        *,
        before: Sequence[str] = (),
        python: str = sys.executable,
        **options: object,
    ) -> Guest:
        guests.append(Guest(home, before, python, options))
        return guests[-1]

    yield start
    for one in guests:
        if one.process.returncode is None:
            one.kill()
