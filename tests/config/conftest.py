"""A home for the settings of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.support import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
