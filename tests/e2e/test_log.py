"""The log of a run: what its lines name, so that they can be searched and counted."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from typing import Any

from syncer import log
from syncer.simulator import Simulator, World
from tests.support import logged


async def test_every_line_says_what_it_is_about(
    simulator: Simulator, world: World, sync: Any, db: Any
) -> None:
    """Account and run in every line; service, zone and request id in every one of an error."""
    await sync()
    world.remove_image("SAO-A", min(world.images("SAO-A")))
    simulator.add_fault("status=503,zone=FRA-A,times=1")
    simulator.add_fault("status=400,code=NOT_TODAY,zone=HKG-A")
    simulator.add_fault("challenge,zone=LAX-A,times=1")
    simulator.skew = 3600

    with logged("json") as text:
        report = await sync()

    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    events: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        events.setdefault(line["event"], []).append(line)
        assert "default" == line["account"]
        if line["event"] != "clock.differed":  # it is found before the run has its number
            assert report.run_id == line["run_id"]
    names = {"clock.differed", "api.challenged", "call.retried", "removals.settled"}
    assert names | {"zone.written", "zone.failed", "run.finished"} == events.keys()

    request_ids = {call.request_id for call in simulator.calls}
    for name, zone in (("call.retried", "FRA-A"), ("zone.failed", "HKG-A")):
        (line,) = events[name]
        assert ("vm", zone) == (line["service"], line["zone"])
        assert line["request_id"] in request_ids
        assert line["error_code"] in line["error_message"]
    (run,) = events["run.finished"]
    assert ("partial", "NOT_TODAY") == (run["status"], run["error_code"])
    assert run["request_id"] == events["zone.failed"][0]["request_id"]
    for line in events["zone.written"] + events["zone.failed"]:
        assert 0 < line["seconds"] <= run["seconds"]


async def test_what_has_one_cause_is_said_once(
    simulator: Simulator, world: World, sync: Any
) -> None:
    """Six zones fail alike, after six retries each: a line of each, and at the end how many."""
    simulator.add_fault("status=503,action=DescribeImages")
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        log.configure("json", "info")
        await sync()
        log.configure("json", "error")
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    events = ["call.retried", "zone.failed", "zones.failed", "run.finished"]
    assert events == [line["event"] for line in lines]
    assert len(world.zones()) == lines[2]["zones"]
    assert lines[1]["error_message"] == lines[2]["error_message"]


def test_the_log_does_not_load_rich() -> None:
    """It takes 50 ms, which no reading command need pay; where rich is needed it can be loaded."""
    code = "import sys, syncer.log; assert 'rich' not in sys.modules; import rich.console"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)


DROPPED = """
import asyncio, gc, asyncpg
from syncer import log

async def main():
    log.configure("json", "info")
    for error in (asyncpg.ConnectionDoesNotExistError("the connection ended"), OSError("news")):
        asyncio.get_running_loop().create_future().set_exception(error)

asyncio.run(main())
gc.collect()
"""


def test_what_the_driver_leaves_behind_of_a_lost_connection_is_not_logged() -> None:
    """Whoever used the connection has the error; of anything else left behind, the log has it."""
    done = subprocess.run(
        [sys.executable, "-c", DROPPED], check=True, capture_output=True, text=True
    )
    (line,) = done.stderr.splitlines()
    assert "OSError: news" in json.loads(line)["exception"]
