"""A role as a sync has it, and the doctor's checks in process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syncer.config.settings import load_with_faults
from syncer.doctor.checks import Timing
from syncer.doctor.finding import Finding
from syncer.doctor.run import run_checks
from syncer.store.connection import sql
from tests.doctor.support import RunChecks


@pytest.fixture
async def role(db: Any) -> AsyncIterator[str]:
    """A login that may do what a sync does, and no more."""
    name = f"syncing_{os.getpid()}"
    await db.execute(sql("schema/roles"))
    await db.execute(f"create role {name} login in role syncer_writer")
    yield name
    await db.execute(f"drop owned by {name}; drop role {name}")


@pytest.fixture
def check(
    environment: dict[str, str], role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> RunChecks:
    """Do all checks as the command does; all is well unless a test plants something."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    url = environment["SYNCER_DATABASE_URL"].replace("//syncer@", f"//{role}@")

    async def run(
        *,
        max_age: float | None = None,
        defaults: bool = False,
        timing: Timing = Timing(),  # noqa: B008  (frozen)
        **env: str,
    ) -> list[Finding]:
        given = {"SYNCER_DATABASE_URL": url, "TMPDIR": str(tmp_path), **env}
        loaded = load_with_faults({}, {**environment, **given})
        async with run_checks(loaded, max_age=max_age, defaults=defaults, timing=timing) as results:
            assert results.timed_out == any("no answer in" in f.message for f in results.findings)
        return results.findings

    return run
