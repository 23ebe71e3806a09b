"""Alerts that Grafana evaluates itself, from SQL: what each says of the night, and of a calm one.

The file's shape is that of Grafana's provisioning (``rules_types.go``); what becomes of a table is
in its ``converter.go``: one numeric column is the value, text columns are labels, each row is an
alert, and no row is none.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from tests.deploy.night import Night
from tests.deploy.panels import GRAFANA, dashboards, panels, queries
from tests.deploy.test_prometheus import ALERTS, PROMETHEUS, RULES
from tests.deploy.tools import yaml

TEXT: Final = (GRAFANA / "provisioning" / "alerting" / "syncer.yaml").read_text()
(GROUP,) = yaml(GRAFANA / "provisioning" / "alerting" / "syncer.yaml")[0]["groups"]
BY_TITLE: Final = {rule["title"]: rule for rule in GROUP["rules"]}
UNREACHABLE: Final = "SyncerDatabaseUnreachable"
SQL: Final = {title: rule["data"][0]["model"]["rawSql"] for title, rule in BY_TITLE.items()}
UNKNOWN: Final = {
    *("SyncerAbsent", "SyncerDown", "SyncerAccountAbsent", "SyncerRefused", "SyncerThrottled")
}
"""What no database knows: whether a process answers, and what its calls came to."""
DAY: Final = "interval '1 day'"
WORSE: Final = {
    "SyncerNotRunning": f"""
        update syncer_store.runs set started_at = started_at - {DAY}, clock_at = clock_at - {DAY},
            finished_at = finished_at - {DAY} where account = 'a'""",
    "SyncerNoSuccess": f"update syncer_store.zone_scans set observed_at = observed_at - {DAY}",
    "SyncerZonesLost": """
        update syncer_store.runs set zones_lost = 3, started_at = now(), finished_at = now()
        where run_id = 14""",
    "SyncerClockBehind": """
        update syncer_store.runs set clock_at = started_at - interval '1 min' where run_id = 14""",
    "SyncerZoneNeverRead": f"""
        insert into syncer_store.zones (account, service, zone_id, first_seen_at)
        values ('a', 'vm', 'NEW-A', now() - {DAY})""",
    "SyncerRowsRejected": """
        update syncer_store.zone_scans set rejected = 3, finished_at = now()
        where run_id = 14 and status = 'unchanged'""",
    "SyncerImagesRemoved": """
        update syncer_store.images set removed_at = now() where image_id = 'i2'""",
    "SyncerNoWorker": "delete from syncer_store.workers",
}
"""What happens besides, for the alerts that the night itself does not raise."""
CALM: Final = """
    update syncer_store.runs set status = 'succeeded' where run_id = 14;
    delete from syncer_store.runs where account = 'b';
    delete from syncer_store.account_schedule where account = 'c';
    delete from syncer_store.missing;
    update syncer_store.zones set gone_at = null;
    delete from syncer_store.zone_scans where status in ('gone', 'failed', 'guarded');
    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, status, listed)
    select zone_key, 14, now(), now(), 'unchanged', true from syncer_store.zones
    on conflict do nothing"""


async def alerts(night: Night, title: str, change: str = "") -> list[tuple[Any, ...]]:
    """Return what a rule says of the night after a change, which is taken back."""
    async with night.but(change):
        rows = await night.reader.fetch(SQL[title])
    for row in rows:
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert [True] == [value > 0 for value in numbers], (title, row)
    return [tuple(row) for row in rows]


def test_they_are_those_of_prometheus_that_a_database_knows() -> None:
    """The same names and severities, texts that say the same, and the same times to wait."""
    assert set(ALERTS) - UNKNOWN == BY_TITLE.keys() - {UNREACHABLE}
    asked = {"SyncerNeverSucceeded", "SyncerZoneNeverRead"}  # the statement itself waits an hour
    for title in BY_TITLE.keys() - {UNREACHABLE}:
        rule, alert = BY_TITLE[title], ALERTS[title]
        assert alert["labels"] == rule["labels"], title
        assert title in asked or alert.get("for", "0s") == rule["for"], title
        for text in ("summary", "description", "runbook"):
            same = re.sub(r"\$?(labels|Labels)\.", "", alert["annotations"][text])
            words = re.findall(r"[A-Za-z]{4,}", re.sub(r"\{\{.*?\}\}", "", same))
            assert words == re.findall(
                r"[A-Za-z]{4,}", re.sub(r"\{\{.*?\}\}", "", rule["annotations"][text])
            ), title
        assert rule["annotations"]["runbook_url"].endswith("/runbooks.md#" + title.lower())
    assert {rule["alert"] for rule in RULES if "alert" in rule} == set(ALERTS)
    assert "## Nobody is there" in (PROMETHEUS / "runbooks.md").read_text()


def test_the_file_is_what_grafana_takes() -> None:
    """Unique uids, a condition of the rule, data source and panels that are here."""
    assert (1, "syncer", "syncer") == (GROUP["orgId"], GROUP["name"], GROUP["folder"])
    assert "$" not in TEXT  # a variable of Grafana's environment, in older versions everywhere
    uids = [rule["uid"] for rule in GROUP["rules"]]
    assert len(uids) == len(set(uids)) == len(BY_TITLE)
    by_id = {panel["id"] for panel in panels(dashboards()["overview"])}
    for title, rule in BY_TITLE.items():
        assert re.fullmatch(r"[a-z-]{1,40}", rule["uid"]), title
        assert re.fullmatch(r"\d+[smh]", rule["for"]), title
        assert "OK" == rule["noDataState"], title
        assert ("Alerting" if title == UNREACHABLE else "OK") == rule["execErrState"], title
        assert "syncer-overview" == rule["annotations"]["__dashboardUid__"]
        assert int(rule["annotations"]["__panelId__"]) in by_id, title
        query, threshold = rule["data"]
        assert [query["refId"], threshold["refId"]] == ["A", rule["condition"]]
        for each in rule["data"]:
            assert each["model"]["refId"] == each["refId"]
            assert each["model"]["datasource"]["uid"] == each["datasourceUid"]
        assert ("syncer", "__expr__") == (query["datasourceUid"], threshold["datasourceUid"])
        assert ("table", True) == (query["model"]["format"], query["model"]["rawQuery"])
        assert ("threshold", "A") == (threshold["model"]["type"], threshold["model"]["expression"])


def test_what_is_stale_is_the_same_everywhere() -> None:
    """How long an account may wait is worked out alike in all statements of panels and alerts."""
    statements = [*SQL.values(), *(query.raw for query in queries())]
    found = [
        re.sub(r"\s+", " ", limit)
        for statement in statements
        if "pace as materialized" in statement
        for limit in re.findall(r"2 \* coalesce\(.*?interval '30 minutes'", statement, re.DOTALL)
    ]
    assert len(found) > 15
    assert 1 == len(set(found))


async def test_texts_name_what_the_statement_returns(night: Night) -> None:
    """One number, besides texts that are labels; and only labels that are there are named."""
    for title, statement in SQL.items():
        columns = (await night.reader.prepare(statement)).get_attributes()
        labels = {column.name for column in columns if column.type.name == "text"}
        assert 1 == len(columns) - len(labels), title
        texts = " ".join(BY_TITLE[title]["annotations"].values())
        assert set(re.findall(r"\.Labels\.(\w+)", texts)) <= labels, title
        assert set(re.findall(r"\.Values\.(\w+)", texts)) <= {"A"}, title


async def test_each_fires_when_it_should(night: Night) -> None:
    """What the night itself raises, and what is raised when more happens."""
    n = night
    found = {title: rows for title in SQL if (rows := await alerts(n, title))}
    assert found == {
        "SyncerRunFailed": [("b", n.age(11, 1))],
        "SyncerNeverSucceeded": [("b", n.age(9))],
        "SyncerPartial": [("a", n.age(5, 2))],
        "SyncerZonesGone": [("a", 1)],
        "SyncerZoneStale": [("a", "vm", "LAX-A", n.age(5, 1))],
        "SyncerRemovalsWithheld": [("a", "vm", "SIN-A", 2)],
        "SyncerAccountsUnserved": [(1,)],
        "SyncerAccountsLate": [(1,)],
    }
    worse = {title: await alerts(n, title, change) for title, change in WORSE.items()}
    assert worse == {
        "SyncerNotRunning": [("a", n.age(11 - 24, 2))],
        "SyncerNoSuccess": [("a", n.age(11 - 24, 1))],
        "SyncerZonesLost": [("a", 3)],
        "SyncerClockBehind": [("a", 60)],
        "SyncerZoneNeverRead": [("a", "vm", "NEW-A", pytest.approx(86400, abs=30))],
        "SyncerRowsRejected": [("a", "vm", 3)],
        "SyncerImagesRemoved": [("a", "vm", 1)],
        "SyncerNoWorker": [(2,)],
    }
    assert SQL.keys() == found.keys() | worse.keys() | {UNREACHABLE}


async def test_each_is_silent_when_all_is_well(night: Night) -> None:
    """Of an account that is read whole every hour, and of its sixth hour that is not yet over."""
    for title in SQL:
        assert [] == await alerts(night, title, CALM), title
