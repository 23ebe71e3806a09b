"""A glob that matches no zone is a mistake of the command line, and no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from syncer.simulator import Simulator
from tests.support import lose_zone

A, B = "FRA-A", "HKG-A"


async def test_a_mistyped_zone_begins_no_run(
    simulator: Simulator, syncer: Any, db: Any, tmp_path: Path
) -> None:
    """Exit 2 with what may be meant, no run, no metrics: nothing alerts; 0 for one long gone."""
    env = {"SYNCER_METRICS_FILE": str(tmp_path / "metrics.prom")}
    done = await syncer("sync", "--zone", "FRA-B", **env)
    assert (2, "") == (done.code, done.out)
    assert "no zone matches FRA-B" in done.err
    assert "did you mean FRA-A?" in done.err
    assert "run.finished" not in done.err
    assert 0 == await db.fetchval("select count(*) from syncer.runs")
    failed = 'syncer_runs_total{account="default",status="failed"} 0.0'
    assert failed in (tmp_path / "metrics.prom").read_text()

    assert 0 == (await syncer("sync", "--zone", A, "--not-zone", B, **env)).code
    lose_zone(simulator, A)
    assert 0 == (await syncer("sync", "--zone", A)).code
    assert "gone" == await db.fetchval("select last_status from syncer.zones")
    gone = f"{A} is gone: read again when the API lists it"
    for options in ((), ("--dry-run",), ("--not-zone", B)):
        done = await syncer("sync", "--zone", A, *options)
        assert (0, True) == (done.code, gone in done.err), done.err
    done = await syncer("sync", "--zone", A, "-o", "table")
    assert (0, f"{gone}.") == (done.code, done.out.strip())
    done = await syncer("sync", "--zone", B, "--not-zone", "HKG*")
    assert (2, True) == (done.code, "--not-zone leaves out" in done.err), done.err
    done = await syncer("sync", "--service", "bmc", "--zone", A)
    assert (2, False) == (done.code, "did you mean" in done.err), done.err
    assert 2 == await db.fetchval("select count(*) from syncer.runs")


async def test_an_account_in_which_nothing_is_selected_has_no_run(
    simulator: Simulator, syncer: Any, db: Any, tmp_path: Path
) -> None:
    """It is left out; a glob that matches in none is exit 2, and none has a run."""
    simulator.gate.access_keys["second"] = "two"
    path = tmp_path / "syncer.toml"
    tables = [
        f'[accounts.{name}]\naccess_key_id = "{key}"\naccess_key_secret = "{secret}"\n'
        for name, key, secret in (("one", "test-key", "test-secret"), ("two", "second", "two"))
    ]
    path.write_text("".join(tables))
    path.chmod(0o600)
    env = {"SYNCER_CONFIG": str(path)}
    env |= dict.fromkeys(("ZENLAYER_ACCESS_KEY_ID", "ZENLAYER_ACCESS_KEY_SECRET"), "")
    done = await syncer("sync", "--zone", "NOPE", **env)
    assert (2, "") == (done.code, done.out), done.err
    assert 0 == await db.fetchval("select count(*) from syncer.runs")

    assert 0 == (await syncer("sync", "--account", "one", **env)).code
    simulator.add_fault(f"hide_zone,zone={A}")
    done = await syncer("sync", "--zone", A, "-o", "json", **env)
    assert 0 == done.code, done.err
    assert [(2, "one"), (None, "two")] == [
        (run["run_id"], run["account"]) for run in json.loads(done.out)
    ]
    assert 2 == await db.fetchval("select count(*) from syncer.runs where account = 'one'")
    assert 2 == await db.fetchval("select count(*) from syncer.runs")

    options = ("sync", "--zone", A)
    gone = f"{A} is gone: read again when the API lists it"
    lose_zone(simulator, A)
    done = await syncer(*options, **env)  # once more, and of account one it is gone
    simulator.gate.access_keys["second"] = "another"
    done = await syncer(*options, **env)
    assert (1, True) == (done.code, f"account one: {gone}" in done.err), done.err
    done = await syncer("sync", "--zone", "NOPE", **env)
    assert (1, True) == (done.code, "no zone of one matches NOPE" in done.err), done.err
