"""What the doctor says of workers: nothing where there are none, else who is there."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.doctor.workers import judge_workers
from syncer.store.schedule import AccountState, WorkerState
from tests.doctor.support import RunChecks, of, problems


def account(name: str, state: str = "waiting", **values: Any) -> AccountState:
    given = {
        "every": 900.0,
        "worker": "w1",
        "workers": 1,
        "overdue": -60.0,
        "ended": True,
        "failures": 0,
    }
    return AccountState(account=name, state=state, **{"result": None, **given, **values})


def worker(name: str, **values: Any) -> WorkerState:
    given = {"alive": True, "draining": False, "accounts": 2, "at_once": 8, "running": 0}
    where = {"host": "h", "pid": 1, "syncer_version": "1", "unseen": 1.0}
    return WorkerState(worker=name, **{**where, **given, **values})


CASES = {
    "never any": ([], [], []),
    "all well": (
        [account("a", "running"), account("b", "due", overdue=3.0)],
        [worker("w1"), worker("w2")],
        [("ok", "2 workers for 2 accounts: 1 of 16 places taken, 1 due")],
    ),
    "none there": (
        [account("a", workers=0)],
        [worker("w1", alive=False)],
        [("failed", "no worker is there; they crawl 1 account")],
    ),
    "one that ends": (
        [account("a", workers=0)],
        [worker("w1", draining=True)],
        [("failed", "no worker is there; they crawl 1 account")],
    ),
    "no credentials": (
        [account("a"), account("b", "late", workers=0, overdue=5000.0)],
        [worker("w1")],
        [
            ("ok", "1 worker for 2 accounts: 0 of 8 places taken, 1 due"),
            ("failed", "no worker has the credentials of b"),
        ],
    ),
    "late": (
        [account("a", "late", overdue=5000.0), account("b", "late", overdue=9000.0)],
        [worker("w1")],
        [
            ("ok", "1 worker for 2 accounts: 0 of 8 places taken, 2 due"),
            ("warning", "2 accounts are late, b by 2 h"),
        ],
    ),
    "one killed": (
        [account("a")],
        [worker("w1"), worker("w2", alive=False)],
        [
            ("ok", "1 worker for 1 account: 0 of 8 places taken, 0 due"),
            ("warning", "not seen for a minute or more: w2"),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_workers(case: str) -> None:
    accounts, workers, said = CASES[case]
    findings = judge_workers(accounts, workers)
    assert said == [(found.status, found.message) for found in findings]
    assert all(found.advice for found in findings if found.status != "ok")


def test_workers_whose_intervals_differ() -> None:
    """What this machine's settings say beside what is crawled; of others' accounts nothing."""
    accounts = [account("a"), account("b"), account("c")]
    assert [] == judge_workers(accounts, [worker("w")], {"a": 900.0, "d": 1.0})[1:]
    (found,) = judge_workers(accounts, [worker("w")], {"a": 900.0, "b": 300.0})[1:]
    assert "b: crawled every 15 min, while the settings here say 5 min" == found.message


async def test_the_queue_is_reached_as_workers_reach_it(check: RunChecks, url: str) -> None:
    """Where there is a URL of its own: another server, or no queue there."""
    findings = await check(SYNCER_QUEUE_URL=url)
    assert [] == problems(findings)
    assert "reached at" in of(findings, "queue").message
    found = of(await check(SYNCER_QUEUE_URL=url.replace("?", "_missing?")), "queue")
    assert "failed" == found.status
    assert found.advice is not None
    assert "SYNCER_QUEUE_URL" in found.advice
