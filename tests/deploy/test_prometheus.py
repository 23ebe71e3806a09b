"""Alerts: each fires, stays silent and resolves; what they advise can be done."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from click import Context
from prometheus_client import generate_latest

from syncer.cli import cli
from syncer.config.accounts import Account
from syncer.serve.metrics import Metrics, metrics_of
from syncer.serve.worker_metrics import Distribution
from tests.deploy.tools import DEPLOY, run, tool, yaml
from tests.support import until

PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = yaml(PROMETHEUS / "syncer.rules.yml")[0]["groups"][0]["rules"]
CASES = sorted(PROMETHEUS.glob("*.test.yml"))
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_how_bad_what_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    said = alert["annotations"]
    assert {"summary", "description", "runbook", "runbook_url", "dashboard_url"} == set(said)
    assert said["runbook_url"] == "{{ $externalLabels.syncer_runbooks }}#" + name.lower()
    runbook = (PROMETHEUS / "runbooks.md").read_text().partition(f"\n### {name}\n")[2]
    assert runbook.startswith(f"{alert['labels']['severity']}. ")
    overview = json.loads((DEPLOY / "grafana/dashboards/overview.json").read_text())
    link = "{{ $externalLabels.grafana }}/d/" + overview["uid"]
    assert said["dashboard_url"].partition("?var-account=")[0] == link


def test_every_runbook_is_of_an_alert() -> None:
    headings = re.findall("^### (.*)$", (PROMETHEUS / "runbooks.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)


def test_what_wakes_somebody_is_what_is_lost_as_a_whole() -> None:
    """A zone that fails, or runs that are partial, wait for the morning; so Alertmanager has it."""
    critical = {name for name, alert in ALERTS.items() if alert["labels"]["severity"] == "critical"}
    assert critical.isdisjoint({"SyncerPartial", "SyncerZoneStale", "SyncerDown"})
    assert critical >= {"SyncerAccountAbsent", "SyncerRunFailed", "SyncerNoSuccess"}
    (config,) = yaml(PROMETHEUS / "alertmanager.yml")
    routes = {route["matchers"][0]: route["receiver"] for route in config["route"]["routes"]}
    assert {"severity = critical": "page", "severity = info": "nobody"} == routes
    receivers = {receiver["name"] for receiver in config["receivers"]}
    assert {config["route"]["receiver"], *routes.values()} == receivers
    named = set[str]()
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            word = matcher.split(maxsplit=2)[2].strip('"')
            found = {name for name in ALERTS if re.fullmatch(word, name)}
            assert len(found) == word.count("|") + 1, matcher
            named |= found
    assert named


def test_counters_of_alerts_begin_at_zero() -> None:
    """Each label value that an alert asks of a counter has a series before anything happens."""
    account = Account(name="default", services=("vm",))
    found = [s for f in metrics_of(account, live=True).registry.collect() for s in f.samples]
    for rule in RULES:
        for name, text in re.findall(r"(syncer_\w+_total)\{([^}]*)\}", rule["expr"]):
            for label, values in re.findall(r'(\w+)=~?"([^"]*)"', text):
                for value in values.split("|"):
                    assert any(s.name == name and s.labels[label] == value for s in found), rule


def test_the_rules_ask_for_metrics_that_are_there() -> None:
    """Each name in an expression is one that the program exports, or recorded here."""
    workers = Distribution("worker", holds=60)
    workers.take([], [])
    text = generate_latest(Metrics("default", live=True).registry).decode()
    text += generate_latest(workers).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    known = {
        name + suffix
        for name, kind in kinds.items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for rule in RULES:
        used = set(re.findall(r"\bsyncer[_:][\w:]+|\bup\b", rule["expr"]))
        assert used, rule
        assert used <= known | recorded | {"up"}


def test_the_rules_do_what_their_tests_say() -> None:
    """Rules and configuration are valid for promtool, and its tests of the rules pass."""
    promtool = tool("promtool", "prometheus")
    run(promtool, "check", "rules", PROMETHEUS / "syncer.rules.yml")
    run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    run(promtool, "test", "rules", *CASES)


def test_each_alert_is_seen_silent_firing_and_resolved() -> None:
    """In the tests of the rules each alert is silent, then fires, then is silent again.

    Those that go by an account's interval are seen to do so with runs every six hours as well.
    """
    seen: dict[str, list[list[bool]]] = {}
    every = re.compile("syncer:(interval_seconds|throttled_calls:ratio)")
    long = {name for name, alert in ALERTS.items() if every.search(alert["expr"])}
    for case in yaml(PROMETHEUS / "syncer.rules.6h.test.yml")[0]["tests"]:
        for check in case["alert_rule_test"]:
            if check["exp_alerts"]:
                long.discard(check["alertname"])
    assert {"SyncerPartial"} == long  # it is silent there
    for case in (case for path in CASES for case in yaml(path)[0]["tests"]):
        fired: dict[str, list[bool]] = {}
        for check in case["alert_rule_test"]:
            fired.setdefault(check["alertname"], []).append(bool(check["exp_alerts"]))
        for name, states in fired.items():
            seen.setdefault(name, []).append(states)
    assert set(seen) == set(ALERTS)
    for name, cases in seen.items():
        assert any(re.search("f+t+f+", "".join("ft"[s] for s in states)) for states in cases), name


@contextlib.asynccontextmanager
async def started(
    *command: str | Path, env: dict[str, str], **until: bytes
) -> AsyncIterator[dict[str, bytes]]:
    """A program at work; what it logged first that begins and ends as each of ``until`` says."""
    async with await anyio.open_process([str(part) for part in command], env=env) as process:
        try:
            assert process.stderr is not None
            lines, said = BufferedByteReceiveStream(process.stderr), dict[str, bytes]()
            while said.keys() != until.keys():
                line = await lines.receive_until(b"\n", 1 << 16)
                said |= {name: line for name, part in until.items() if part in line}
            yield said
        finally:
            process.kill()


async def test_a_real_prometheus_scrapes_the_daemon(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The shipped configuration with the daemon's address: scraped, rules worked out, quiet."""
    program = tool("prometheus", "prometheus")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def ask(path: str, **query: str) -> Any:
        where = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(where, timeout=10) as reply:
            return json.load(reply)["data"]

    def rules() -> list[Any]:
        return [rule for group in ask("rules")["groups"] for rule in group["rules"]]

    def value(query: str) -> float | None:
        found = ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    serve = (sys.executable, "-m", "syncer", "serve", "--http", "127.0.0.1:0")
    awaited = {"address": b"http.listening", "ran": b"run.finished"}
    async with started(
        *serve, env={**env, **environment, "SYNCER_LOG_LEVEL": "info"}, **awaited
    ) as said:
        assert "succeeded" == json.loads(said["ran"])["status"]
        scraped = json.loads(said["address"])["address"].removeprefix("http://")
        config = (PROMETHEUS / "prometheus.yml").read_text()
        config = config.replace("syncer:9464", scraped).replace(": 30s", ": 100ms")
        (tmp_path / "prometheus.yml").write_text(config)
        (tmp_path / "syncer.rules.yml").write_bytes((PROMETHEUS / "syncer.rules.yml").read_bytes())
        options = {
            "config.file": tmp_path / "prometheus.yml",
            "storage.tsdb.path": tmp_path / "tsdb",
            "web.listen-address": address,
        }
        arguments = [f"--{name}={given}" for name, given in options.items()]
        async with started(program, *arguments, env=env, ready=b"Server is ready"):
            await until(
                lambda: (
                    value("count(syncer:zone_age_seconds)") is not None
                    and "unknown" not in {rule["health"] for rule in rules()}
                )
            )
            [target] = ask("targets")["activeTargets"]
            assert ("up", "") == (target["health"], target["lastError"])
            assert 1 == value('up{job="syncer"}')
            assert 6 == value("count(syncer:zone_age_seconds)")
            assert 120 == value("sum(syncer_images_present)")
            assert 1 == value('syncer_runs_total{account="default", status="succeeded"}')
            found = rules()
            assert len(RULES) == len(found)
            assert {"ok"} == {rule["health"] for rule in found}
            assert {"inactive"} == {rule["state"] for rule in found if rule["type"] == "alerting"}
            assert 900 == value("syncer:interval_seconds")
            assert 1e7 < (value('process_resident_memory_bytes{job="syncer"}') or 0) < 1e9


async def test_what_a_runbook_says_can_be_done(db: Any) -> None:
    """Each statement in a runbook answers, each command and its options exist."""
    runbooks = " ".join(alert["annotations"]["runbook"] for alert in ALERTS.values())
    statements = re.findall(r"select [^;()]*?(?: limit \d+|rate_limits)", runbooks)
    assert len(statements) >= 4
    for statement in statements:
        await db.fetch(statement)
    commands = re.findall(r"\bsyncer ((?:db )?[a-z]+(?:-[a-z]+)*)((?: --[a-z]+)*)", runbooks)
    assert len(commands) >= 5
    for command, options in commands:
        found: Any = cli
        for word in command.split():
            found = found.get_command(Context(found), word)
            assert found, command
        known = {option for parameter in found.params for option in parameter.opts}
        assert set(options.split()) <= known, command
