"""Alerts: each fires, stays silent and resolves; what they tell people to do can be done."""

from __future__ import annotations

import re
from typing import Any

import pytest
from click import Context
from prometheus_client import generate_latest

from syncer.cli import cli
from syncer.ops.metrics import Metrics
from tests.deploy.tools import DEPLOY, run, tool, yaml

PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = yaml(PROMETHEUS / "syncer.rules.yml")[0]["groups"][0]["rules"]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_how_bad_what_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description", "runbook"} == set(alert["annotations"])


def test_the_rules_ask_for_metrics_that_are_there() -> None:
    """Each name in an expression is one that the program exports, or recorded here."""
    text = generate_latest(Metrics("default", live=True).registry).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    known = {
        name + suffix
        for name, kind in kinds.items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for rule in RULES:
        used = set(re.findall(r"\bsyncer[_:][\w:]+", rule["expr"]))
        assert used, rule
        assert used <= known | recorded


def test_the_rules_do_what_their_tests_say() -> None:
    """Rules and configuration are valid for promtool, and its tests of the rules pass."""
    promtool = tool("promtool", "prometheus")
    run(promtool, "check", "rules", PROMETHEUS / "syncer.rules.yml")
    run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    run(promtool, "test", "rules", PROMETHEUS / "syncer.rules.test.yml")


def test_each_alert_is_seen_silent_firing_and_resolved() -> None:
    """In the tests of the rules each alert is silent, then fires, then is silent again."""
    seen: dict[str, list[list[bool]]] = {}
    for case in yaml(PROMETHEUS / "syncer.rules.test.yml")[0]["tests"]:
        fired: dict[str, list[bool]] = {}
        for check in case["alert_rule_test"]:
            fired.setdefault(check["alertname"], []).append(bool(check["exp_alerts"]))
        for name, states in fired.items():
            seen.setdefault(name, []).append(states)
    assert set(seen) == set(ALERTS)
    for name, cases in seen.items():
        assert any(re.search("f+t+f+", "".join("ft"[s] for s in states)) for states in cases), name


async def test_what_a_runbook_says_can_be_done(db: Any) -> None:
    """Each statement in a runbook answers, each command and its options exist."""
    runbooks = " ".join(alert["annotations"]["runbook"] for alert in ALERTS.values())
    statements = re.findall(r"select [^;()]*?(?: limit \d+|rate_limits)", runbooks)
    assert len(statements) >= 4
    for statement in statements:
        await db.fetch(statement)
    commands = re.findall(r"\bsyncer ((?:db )?[a-z]+)((?: --[a-z]+)*)", runbooks)
    assert len(commands) >= 5
    for command, options in commands:
        found: Any = cli
        for word in command.split():
            found = found.get_command(Context(found), word)
            assert found, command
        known = {option for parameter in found.params for option in parameter.opts}
        assert set(options.split()) <= known, command
