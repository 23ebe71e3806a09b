"""The dashboards, checked without a Grafana: their shape, and every statement on a real history."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from syncer.bench import seed
from syncer.store.connection import sql
from tests.deploy.panels import (
    GRAFANA,
    VARIABLE,
    Query,
    Values,
    dashboards,
    defaults,
    expand,
    panels,
    queries,
)
from tests.support import Migrated, connected

A_YEAR: Final = bool(os.environ.get("SYNCER_TEST_YEAR"))
"""A full year of history instead of four weeks (``make dashboards-check``)."""
DASHBOARDS: Final = dashboards()
QUERIES: Final = tuple(queries())
DS: Final = {"type": "grafana-postgresql-datasource", "uid": "${ds}"}
METRICS: Final = {"type": "prometheus", "uid": "${metrics}"}
UIDS: Final = {dashboard["uid"]: name for name, dashboard in DASHBOARDS.items()}
BUILT_IN: Final = {"__url_time_range", "__data", "__field", "__interval", "__value"}

NUMBERS: Final = {"int2", "int4", "int8", "float4", "float8", "numeric"}
TEXTS: Final = {"text", "varchar", "name"}
TIMES: Final = {"timestamptz"}
KINDS: Final = {"appeared", "changed", "removed", "returned"}
RUNS: Final = {"running", "succeeded", "partial", "failed", "crashed"}
"""What series are named by: kinds of changes, and how runs ended."""
BIG: Final = {"image_history", "zone_scans"}
"""Tables that grow with time: no panel may read one from end to end."""
NOT_READ: Final = "zone_scans_not_read"
"""Its condition is its own: it holds only scans that were not whole, which spells are made of."""
_WORKERS: Final = """
    insert into syncer_store.workers (worker, host, pid, syncer_version, accounts, at_once, seen_at)
    select 'host.' || n, 'host', n, '0.1.0', '{default}', 8, now() - make_interval(mins => n - 1)
    from generate_series(1, 2) as n;
    insert into syncer_store.account_schedule (account, every, due_at, taken, worker, started_at)
    values ('default', '15m', now(), 1, 'host.1', now()), ('lost', '15m', now(), 0, null, null);
    insert into syncer_store.approvals (zone_key, max_removals, approved_by)
    select min(zone_key), 5, 'ann' from syncer_store.zones"""
"""A worker that is there and has taken an account, one that is lost; an account that nobody has."""
every_dashboard = pytest.mark.parametrize("name", DASHBOARDS)
slow_with_a_year = pytest.mark.timeout(900 if A_YEAR else 60)


@pytest.fixture(scope="module")
async def history(migrated: Migrated) -> AsyncIterator[str]:
    """The URL of a database with a history that ends now, and the roles."""
    async with migrated.copy() as url:
        async with connected(url) as connection:
            await seed.seed(connection, seed.YEAR if A_YEAR else seed.WEEKS)
            await connection.execute(_WORKERS)
            await connection.execute(sql("schema/roles"))
        yield url


@pytest.fixture
async def reader(history: str) -> AsyncIterator[Any]:
    """A connection as Grafana has it: syncer_reader, reading only, with a time limit."""
    async with connected(history) as connection:
        await connection.execute("""
            set role syncer_reader;
            set default_transaction_read_only to on;
            set statement_timeout to '5s';
            set search_path to '';
            set timezone to 'UTC'""")
        yield connection


def strings(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


@every_dashboard
def test_the_panels_have_titles_of_their_own_and_do_not_overlap(name: str) -> None:
    """Ids are unique; each cell of the grid of 24 columns is taken, and none twice."""
    dashboard = DASHBOARDS[name]
    every = dashboard["panels"]
    assert len(every) == len({panel["id"] for panel in every})
    taken: dict[tuple[int, int], str] = {}
    for panel in every:
        grid = panel["gridPos"]
        assert 0 <= grid["x"] <= 24 - grid["w"], panel["title"]
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    height = 1 + max(y for _, y in taken)
    assert {(x, y) for x in range(24) for y in range(height)} == taken.keys()
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles))


def test_the_dashboards_have_names_of_their_own() -> None:
    """Three dashboards with at least twelve panels each, and uids that will not change."""
    assert UIDS == {f"syncer-{name}": name for name in ("drift", "operations", "overview")}
    assert all(len(panels(dashboard)) >= 12 for dashboard in DASHBOARDS.values())


@every_dashboard
def test_every_panel_says_what_it_shows(name: str) -> None:
    """Title, description, unit, a word for "nothing", and the data source that the user chose."""
    for panel in panels(DASHBOARDS[name]):
        shown = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert len(panel["description"]) > 30, panel["title"]
        assert all(shown[key] for key in ("unit", "noValue", "thresholds")), panel["title"]
        assert panel["datasource"] in (DS, METRICS), panel["title"]
        for target in panel["targets"]:
            assert (panel["datasource"], "code") == (target["datasource"], target["editorMode"])
            if target["datasource"] == DS:
                assert target["rawQuery"]
                assert target["format"] in {"table", "time_series"}
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"], panel["title"]


@every_dashboard
def test_every_variable_is_defined_and_used(name: str) -> None:
    """In statements, links and titles; those of statements are quoted the same by all versions."""
    dashboard = DASHBOARDS[name]
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    found = {
        match[1] or match[3] or match[4]
        for text in strings(dashboard)
        for match in VARIABLE.finditer(text)
    }
    assert defined == found - BUILT_IN - {"__searchFilter"}
    for variable in dashboard["templating"]["list"]:
        assert all(variable[key] for key in ("label", "description"))
        if variable["type"] == "query":
            assert DS == variable["datasource"]
        if variable["type"] == "query" and not variable["hide"]:
            assert (True, True, "'(all)'") == tuple(
                variable[key] for key in ("multi", "includeAll", "allValue")
            )


@every_dashboard
def test_links_lead_somewhere(name: str) -> None:
    """A link names a dashboard that is here, and variables that it has."""
    urls = [text for text in strings(DASHBOARDS[name]) if text.startswith("/d/")]
    assert any(UIDS[url.split("/")[2].split("?")[0]] != name for url in urls)
    for url in urls:
        path, _, query = url.partition("?")
        to = DASHBOARDS[UIDS[path.removeprefix("/d/")]]
        names = {variable["name"] for variable in to["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=|\$\{(\w+):queryparam\}", query)) <= {
            pair for name in names for pair in ((name, ""), ("", name))
        }, url


def test_provisioning_points_to_what_is_here() -> None:
    """The YAML is read by Grafana's rules: a data source that the dashboards start with, a path."""
    (source,) = load("datasources/syncer.yaml")["datasources"]
    assert (DS["type"], "syncer", False) == (source["type"], source["uid"], source["editable"])
    sources = load("datasources/monitoring.yaml")["datasources"]
    uids = {each["type"]: each["uid"] for each in (source, *sources)}
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "datasource":
                assert variable["current"]["value"] == uids[variable["query"]]
    (provider,) = load("dashboards/syncer.yaml")["providers"]
    readme = (GRAFANA / "README.md").read_text()
    (copied,) = re.findall(r"^cp deploy/grafana/(\S+\.json) (\S+)/$", readme, re.MULTILINE)
    assert ("dashboards/*.json", provider["options"]["path"]) == copied
    for path in re.findall(r"^cp deploy/grafana/(\S+\.yaml) ", readme, re.MULTILINE):
        assert (GRAFANA / path).is_file()
    settings = (GRAFANA / "provisioning" / "datasources" / "syncer.yaml").read_text()
    named = set(re.findall(r"\$(\w+)", settings))
    assert named == set(re.findall(r"^(SYNCER_\w+)=", readme, re.MULTILINE))


def load(path: str) -> Any:
    document = YAML(typ="safe").load((GRAFANA / "provisioning" / path).read_text())
    assert 1 == document["apiVersion"]
    return document


# What a user may choose besides what is chosen at first; names that need quoting among it.
CHOICES: Final[tuple[Values, ...]] = (
    {"account": ["default"], "service": ["vm", "zec"]},
    {"zone": ["SEL-A", "SAO-A"], "stale": "6 hours"},
    {"account": ["O'Brien"], "zone": ["*"], "image": ["Ubuntu 1.0 x86 64-bit", "img-'--"]},
)


async def in_time(reader: Any, statement: str) -> list[Any]:
    """The rows of a statement; those of a year within 300 ms."""
    await reader.execute(f"set statement_timeout to '{300 if A_YEAR else 5000}ms'")
    try:
        return list(await reader.fetch(statement))
    finally:
        await reader.execute("set statement_timeout to '5s'")


@slow_with_a_year
async def test_every_panel_shows_something(reader: Any) -> None:
    """Each statement, as Grafana would send it, answers with rows that its panel can show."""
    lines = []
    for query in QUERIES:
        statement = expand(query, chosen(query), *time_range(query))
        columns = {a.name: a.type.name for a in (await reader.prepare(statement)).get_attributes()}
        await reader.fetch(statement)  # what is read often is in memory
        began = time.perf_counter()
        rows = await in_time(reader, statement)
        lines.append((str(query), len(rows), (time.perf_counter() - began) * 1000))
        assert rows or query.title == "What took their place", query  # the seed replaces nothing
        fits(query, columns, rows)
    if A_YEAR:
        print(table(lines))  # noqa: T201


@slow_with_a_year
async def test_every_panel_takes_every_choice(reader: Any) -> None:
    """Choices of variables, and time ranges of an hour and of a year, are answered too."""
    for query in QUERIES:
        for choice in CHOICES:
            await reader.fetch(expand(query, chosen(query, choice), *time_range(query)))
        await reader.fetch(expand(query, chosen(query), *time_range(query, "now-1h")))
    image = await reader.fetchval(
        "select image_id from syncer.image_changes where kind = 'returned' order by change_id desc"
    )
    for query in QUERIES:
        if query.dashboard == "drift" and query.title in {"Timeline", "Versions", "Change feed"}:
            statement = expand(
                query, chosen(query, {"image": [image]}), *time_range(query, "now-365d")
            )
            assert len(await reader.fetch(statement)) >= 2, query


@slow_with_a_year
async def test_no_panel_reads_all_of_the_history(reader: Any) -> None:
    """Every look into a table that grows with time is a condition on an index of it.

    The few weeks of the suite are read whole faster than by any index, so reading whole is made
    dear there; the plans of the full year are those of a user's database.
    """
    if not A_YEAR:
        await reader.execute("set enable_seqscan to off")
    for query in QUERIES:
        statement = expand(query, chosen(query), *time_range(query))
        (plan,) = json.loads(await reader.fetchval(f"explain (format json) {statement}"))
        for node in nodes(plan["Plan"]):
            if not A_YEAR and node.get("Index Name") == "image_history_removed":
                continue  # removals only: those of a few weeks are sooner read whole than by time
            if node.get("Relation Name") in BIG:
                assert "Seq Scan" != node["Node Type"], (query, node)
                if node.get("Index Name") != NOT_READ:
                    assert {"Index Cond", "Recheck Cond"} & node.keys(), (query, node)


async def test_nothing_fails_before_the_first_run(url: str) -> None:
    """On a database in which nothing is yet, every panel is empty, or a count of nothing."""
    async with connected(url) as connection:
        await connection.execute(sql("schema/roles"))
        await connection.execute("set role syncer_reader; set search_path to ''")
        for query in QUERIES:
            rows = await connection.fetch(expand(query, chosen(query), *time_range(query)))
            if query.title in {"Database", "Largest tables"}:
                continue  # it takes room
            assert len(rows) <= 1, query
            assert all(value in {0, None, ".+"} for row in rows for value in row), query


def chosen(query: Query, choice: Values | None = None) -> dict[str, str | list[str]]:
    """Return what the variables of a query's dashboard are set to."""
    first = defaults(DASHBOARDS[query.dashboard])
    return first | {name: value for name, value in (choice or {}).items() if name in first}


def time_range(query: Query, since: str | None = None) -> tuple[datetime, datetime, str]:
    """Return the instants, and the interval of a panel some 200 points wide."""
    now = datetime.now(UTC)
    began = since or DASHBOARDS[query.dashboard]["time"]["from"]
    unit = {"h": "hours", "d": "days"}[began[-1]]
    span = timedelta(**{unit: int(began.removeprefix("now-")[:-1])})
    minutes = max(15, int(span.total_seconds() / 60 / 200))
    return now - span, now, f"{minutes}m"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan; those below a bitmap are part of it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def fits(query: Query, columns: dict[str, str], rows: list[Any]) -> None:
    """Check that the panel of a query can show these columns."""
    assert set(columns.values()) <= NUMBERS | TEXTS | TIMES, query
    panel = query.panel
    if panel is None:
        return
    numbers = {name for name, kind in columns.items() if kind in NUMBERS}
    if query.format == "time_series":
        # Long to wide: sorted by time, once for each time and series.
        assert columns["time"] in NUMBERS | TIMES, query
        assert numbers - {"time"}, query
        assert {name for name, kind in columns.items() if kind in TEXTS} <= {"metric"}, query
        assert all(before["time"] <= after["time"] for before, after in pairwise(rows)), query
        keys = [(row["time"], row.get("metric")) for row in rows]
        assert len(keys) == len(set(keys)), query
    elif panel["type"] == "stat":
        assert (1, numbers) == (len(rows), set(columns)), query
    elif panel["type"] == "bargauge":
        assert (2, 1) == (len(columns), len(numbers)), query
    for transformation in panel.get("transformations", ()):
        options = transformation["options"]
        used = [options[key] for key in options if key.endswith("Field")]
        assert {*used, *options.get("fields", ())} <= columns.keys(), query
    for override in panel["fieldConfig"]["overrides"]:
        named = override["matcher"]["options"]
        assert named in columns.keys() | (KINDS | RUNS if "metric" in columns else set()), (
            query,
            named,
        )
    for text in strings(panel):
        for field in re.findall(r"\$\{__data\.fields\.(\w+)\}", text):
            assert field in columns, (query, field)
    for column in panel["options"].get("sortBy", ()):
        assert column["displayName"] in columns, query


def table(lines: list[tuple[str, int, float]]) -> str:
    """Return rows and milliseconds of each statement, for people."""
    wide = max(len(name) for name, _, _ in lines)
    return "\n".join(
        ["", *(f"{name:{wide}} {rows:7,} rows {ms:7.1f} ms" for name, rows, ms in lines)]
    )
