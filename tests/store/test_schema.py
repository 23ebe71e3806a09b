"""The schema: what it forbids, what it promises, who may read it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncer.core.model import TRACKED
from syncer.core.normalise import size_key
from syncer.embedded import find_binaries
from syncer.store import queue
from syncer.store.connection import Server, sql
from syncer.store.migrate import as_sql, upgrade
from syncer.store.schema import installed_revision, migrations_root, revisions
from tests.proxy import Proxy
from tests.store import schema_sql
from tests.support import Migrated, naming

SQL = Path(__file__).parents[2] / "syncer/store/sql"
STATEMENTS = sorted(
    str(path.relative_to(SQL).with_suffix(""))
    for path in SQL.rglob("*.sql")
    if path.stem not in {"roles", "queue_make", "queue_roles"}  # several statements each
)
ZONE = """
    insert into syncer_store.zones (account, service, zone_id, present)
    values ('a', 'vm', 'Z-1', 1) returning zone_key"""
IMAGE = """
    insert into syncer_store.images
        (zone_key, image_id, fingerprint, opened_run_id, opened_ordinal, valid_from)
    values ($1, 'img-1', '', 1, 1, '2026-01-02')"""
VERSION = """
    insert into syncer_store.image_history
        (zone_key, image_id, valid_from, valid_to, opened_kind, opened_run_id, opened_ordinal)
    values ($1, 'img-1', $2::text::timestamptz, $3::text::timestamptz, 'appeared', 1, 1)"""


@pytest.fixture
async def zone_key(db: Any) -> int:
    key: int = await db.fetchval(ZONE)
    await db.execute(IMAGE, key)
    return key


@pytest.fixture
async def undone(fresh: Any) -> AsyncIterator[Any]:
    """The same; what a test writes is rolled back."""
    transaction = fresh.transaction()
    await transaction.start()
    yield fresh
    await transaction.rollback()


async def test_every_statement_fits_the_schema(url: str) -> None:
    """Each file of sql/ is one statement that PREPAREs, with every name qualified.

    Of no type in it need the driver ask what it is, which costs 20 ms in each session.
    """
    async with Proxy(url) as proxy:
        asked = list[bytes]()
        proxy.hook = lambda message: asked.extend([message] if b"pg_type AS t" in message else [])
        connection = await Server(proxy.url).connect()  # whose search_path is empty
        for name in STATEMENTS:
            with naming(name):
                await connection.prepare(sql(name))
                assert [] == asked
        await connection.fetchval("select array[row('x')]")
        assert asked, "the question is seen"
        await connection.close()


OF_A_TYPE = "the guard and the question by id look at the type of what is missing"
ASKED_BY_NAME = "images are asked for by id or name, and shown under it"
NAMED = {
    "baseline/images_add": ASKED_BY_NAME,
    "complete/image": "a shell shows the name beside the id",
    "read/asof": ASKED_BY_NAME,
    "read/images_like": ASKED_BY_NAME,
    "read/images_unseen": ASKED_BY_NAME,
    "read/changes": ASKED_BY_NAME,
    "read/diff": ASKED_BY_NAME,
    "read/feed": ASKED_BY_NAME,
    "read/history": ASKED_BY_NAME,
    "read/images": ASKED_BY_NAME,
    "read/spread": "a row is a name that zones do not offer alike",
    "image/missed": "an image of the same name may have appeared",
    "missing.py": OF_A_TYPE,
    "image/stored_present": OF_A_TYPE,
    "results.py": OF_A_TYPE,
    "run/kinds_left": OF_A_TYPE,
    "zone/missing": OF_A_TYPE,
}
"""The statements that name ``image_name`` or ``image_type`` themselves, and why."""


def test_the_tracked_columns_stand_in_one_place() -> None:
    """No statement and no module of the store names one, but for those that have a reason."""
    texts = {name: (SQL / f"{name}.sql").read_text() for name in STATEMENTS}
    texts |= {path.name: path.read_text() for path in SQL.parent.glob("*.py")}
    named = {
        name: {column for column in TRACKED if re.search(rf"\b{column}\b", text)}
        for name, text in texts.items()
    }
    columns = {n: {"image_type" if why == OF_A_TYPE else "image_name"} for n, why in NAMED.items()}
    assert columns == {n: c for n, c in named.items() if c}


def test_a_statement_is_filled_with_the_tracked_columns() -> None:
    """Their list, a pattern for each, and parameters that are counted from a number."""
    statement = sql("image/change")
    assert "{" not in statement
    assert f"zone_key, image_id, {', '.join(TRACKED)}, added,\n" in statement
    assert f"set {', '.join(f'{name} = t.{name}' for name in TRACKED)}," in statement
    last = 12 + len(TRACKED)
    assert ", ".join(f"${number}::text[]" for number in range(13, last + 1)) + ")" in statement


def test_every_statement_says_what_it_is_for() -> None:
    """A file begins with a comment of whole sentences."""
    for name in STATEMENTS:
        comment = re.match(r"(-- .+\n)+", sql(name))
        assert comment, name
        assert comment[0].rstrip().endswith((".", ")")), name


async def test_schema_sql_is_what_the_migrations_come_to(
    migrated: Migrated, pg_bin: str | None
) -> None:
    """Somebody who reads migrations/schema.sql reads today's schema; if not: make schema."""
    programs = find_binaries(pg_bin)
    if programs.major != schema_sql.MAJOR or not (programs.directory / "pg_dump").exists():
        pytest.skip(f"schema.sql is made by pg_dump {schema_sql.MAJOR}")
    written = schema_sql.FILE.read_text()
    assert written == schema_sql.schema_of(migrated.url, programs.directory)


async def test_the_page_of_the_views_is_what_the_comments_say(migrated: Migrated) -> None:
    """Column by column; if not: make schema."""
    assert schema_sql.VIEWS.read_text() == await schema_sql.views_of(migrated.url)


async def test_versions_of_an_image_never_overlap(db: Any, zone_key: int) -> None:
    """Two closed versions that share an instant are refused; adjoining ones are not."""
    await db.execute(VERSION, zone_key, "2026-01-01 00:00", "2026-01-01 12:00")
    await db.execute(VERSION, zone_key, "2026-01-01 12:00", "2026-01-02 00:00")
    with pytest.raises(asyncpg.ExclusionViolationError, match="image_history_never_overlaps"):
        await db.execute(VERSION, zone_key, "2026-01-01 11:00", "2026-01-01 11:30")


async def test_no_closed_version_reaches_into_the_latest(db: Any, zone_key: int) -> None:
    """A closed version ends before the latest begins, whichever of the two is written."""
    with pytest.raises(asyncpg.ExclusionViolationError, match="latest version"):
        await db.execute(VERSION, zone_key, "2026-01-01", "2026-01-03")
    await db.execute(VERSION, zone_key, "2026-01-01", "2026-01-02")
    with pytest.raises(asyncpg.ExclusionViolationError, match="latest version"):
        await db.execute("update syncer_store.images set valid_from = '2026-01-01 23:00'")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from syncer_store.zones",
        "update syncer_store.zones set zone_key = default",
        "update syncer_store.zones set present = -1",
        "update syncer_store.images set removed_at = now()",
        "update syncer_store.images set removed_at = '2026-01-01', removed_run_id = 1, "
        "removed_ordinal = 1",
        "insert into syncer_store.images (zone_key, image_id, fingerprint, opened_run_id, "
        "opened_ordinal) values (77, 'x', '', 1, 1)",
        "insert into syncer_store.image_history (zone_key, image_id, valid_from, valid_to, "
        "opened_kind, opened_run_id, opened_ordinal) "
        "values (77, 'x', '2026-01-01', '2026-01-02', 'appeared', 1, 1)",
        "insert into syncer_store.runs (account, deadline_at, syncer_version, status) "
        "values ('a', now(), '1', 'succeeded')",
    ],
)
async def test_what_must_never_be_is_refused(statement: str, undone: Any) -> None:
    """PostgreSQL itself refuses a state that cannot be true, whoever writes it."""
    await undone.execute(IMAGE, await undone.fetchval(ZONE))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await undone.execute(statement)


CONTRACT = {
    "images": "account service zone_id image_id image_name image_type image_size "
    "image_description image_version image_status category os_type image_size_gib extra "
    "fingerprint presence first_seen_at changed_at removed_at withheld_since",
    "image_versions": "account service zone_id image_id image_name image_type image_size "
    "image_description image_version image_status category os_type image_size_gib valid_from "
    "valid_to",
    "image_changes": "change_id changed_at not_before kind account service zone_id image_id "
    "image_name changed_fields before after run_id",
    "image_field_changes": "changed_at account service zone_id image_id field old_value new_value "
    "run_id",
    "zones": "account service zone_id zone_name attributes first_seen_at last_seen_at gone_at "
    "last_complete_at last_attempt_at last_status present_images withheld_removals kept_from",
    "zone_scans": "run_id account service zone_id started_at observed_at finished_at status pages "
    "images appeared changed removed returned withheld rejected rereads error_code error_message "
    "request_id looks",
    "runs": "run_id account started_at finished_at deadline_at status syncer_version",
    "image_spread": "account service image_name differs zones missing_zones image_versions "
    "image_sizes image_statuses image_ids offers",
    "approvals": "account service zone_id max_removals approved_at approved_by outcome run_id",
    "rate_limits": "account calls_per_second learnt_at run_id",
    "baselines": "name as_of saved_at saved_by filters images",
    "baseline_images": "name account service zone_id image_id image_name image_type image_size "
    "image_description image_version image_status category os_type",
}
FUNCTIONS = {
    "images_asof(now())": "account service zone_id image_id image_name image_type image_size "
    "image_description image_version image_status category os_type valid_from observed_at",
    "zone_coverage(now())": "account service zone_id last_complete_at next_complete_at coverage",
    "image_counts(now(), now(), '1 day')": "at account service zone_id images",
    "image_counts(now(), now(), '1 day', 'a', 'vm', 'Z-1')": "at account service zone_id images",
    "image_presence('a', 'vm', 'Z-1', 'img-1', now())": "image_presence",
    "zone_coverage(now(), 'a', 'vm', 'Z-1')": "account service zone_id coverage gone",
    "images_asof(now(), 'a', 'vm', 'Z-1')": "account service zone_id image_id observed_at",
    "changes_between(now(), now(), 'a', 'vm', 'Z-1')": "kind account service zone_id image_id "
    "image_name changed_fields before after changed_at reason severity changed_fields_text",
    "pin_status('Z-1', 'img-1', 'a', 'vm')": "account service zone_id image_id status since reason "
    "last_complete_at withheld_since replacement_id replacements",
}


@pytest.mark.parametrize("view", CONTRACT)
async def test_the_views_keep_their_columns(view: str, fresh: Any) -> None:
    """Columns that users rely on are there; every time is timestamptz."""
    rows = await fresh.fetch(
        "select column_name, data_type from information_schema.columns "
        "where table_schema = 'syncer' and table_name = $1",
        view,
    )
    types = dict(map(tuple, rows))
    assert set(CONTRACT[view].split()) <= types.keys()
    times = {kind for name, kind in types.items() if name.endswith("_at") or "time" in kind}
    assert times <= {"timestamp with time zone"}


UNCOMMENTED = """
    select named from (
        select 'schema ' || nspname as named, obj_description(oid, 'pg_namespace') as comment
        from pg_namespace where nspname = 'syncer'
        union all
        select 'view ' || relname, obj_description(oid, 'pg_class')
        from pg_class where relnamespace = 'syncer'::regnamespace
        union all
        select 'column ' || relname || '.' || attname, col_description(attrelid, attnum)
        from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = 'syncer'::regnamespace and attnum > 0
        union all
        select 'function ' || proname, obj_description(oid, 'pg_proc')
        from pg_proc where pronamespace = 'syncer'::regnamespace) as all_of_it
    where coalesce(comment, '') !~ '^[[:alpha:]].*[[:alnum:])*]$'
    order by named"""


async def test_all_of_the_contract_has_a_comment(undone: Any) -> None:
    """Schema, views, columns and functions: tools for SQL show what each means."""
    assert [] == await undone.fetch(UNCOMMENTED)
    await undone.execute("""
        create or replace view syncer.feed as
            select last_change_id, pruned_to, 1 as added from syncer_store.feed;
        create function syncer.more() returns int return 1;
        create view syncer.another as select 1 as one;
        comment on view syncer.another is ''""")
    assert [
        "column another.one",
        "column feed.added",
        "function more",
        "view another",
    ] == [row["named"] for row in await undone.fetch(UNCOMMENTED)]


@pytest.fixture
async def reader(db: Any) -> Any:
    await db.execute(sql("schema/roles"))
    await db.execute(sql("schema/roles"))  # harmless to run again
    await db.execute("set role syncer_reader")
    return db


async def test_the_reader_sees_every_view_and_nothing_else(reader: Any) -> None:
    """As syncer_reader all views and functions answer; syncer_store and writes are refused."""
    views = await reader.fetch(
        "select table_name from information_schema.views where table_schema = 'syncer'"
    )
    assert len(views) >= len(CONTRACT)
    for (view,) in views:
        await reader.fetch(f"select * from syncer.{view}")
    for function, columns in FUNCTIONS.items():
        answer = await reader.prepare(f"select * from syncer.{function}")
        assert set(columns.split()) <= {a.name for a in answer.get_attributes()}
        assert await answer.fetch() is not None
    assert len(FUNCTIONS) == await reader.fetchval(
        "select count(*) from pg_proc where pronamespace = 'syncer'::regnamespace"
    )
    for statement in (
        "select * from syncer_store.images",
        "select syncer_store.size_gib('1')",
        "insert into syncer_store.approvals (zone_key, max_removals, approved_by) "
        "values (1, 1, '')",
        "delete from syncer.baseline_images",
        "insert into syncer_store.runs default values",
        "delete from syncer.runs",
        "update syncer.zones set zone_name = ''",
        "create table syncer.mine ()",
    ):
        refusals = (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)
        with pytest.raises(refusals):
            await reader.execute(statement)


async def test_an_as_of_question_of_one_zone_reads_that_zone_only(db: Any, zone_key: int) -> None:
    """The planner takes images_asof apart: a filter reaches the indexes, for the reader too."""
    assert zone_key
    await db.execute(sql("schema/roles"))
    await db.execute("set role syncer_reader; set enable_seqscan to off")
    plan = "\n".join(
        row[0]
        for row in await db.fetch(
            "explain (costs off) select * from syncer.images_asof(now()) where zone_id = 'Z-1'"
        )
    )
    assert "Function Scan on images_asof" not in plan
    for index in ("zones_are_named", "images_pkey", "image_history_never_overlaps"):
        assert index in plan, plan


async def test_a_database_of_the_first_revision_is_brought_up_to_date(
    empty_url: str,
) -> None:
    """What an older program stored answers to the new questions after the upgrade."""
    connection = await asyncpg.connect(empty_url)
    await connection.execute(as_sql("0001"))
    key = await connection.fetchval(ZONE)
    await connection.execute(IMAGE, key)
    await connection.execute("""
        insert into syncer_store.runs (account, started_at, finished_at, deadline_at, status,
            syncer_version, change_base) values ('a', '2026-01-01', now(), now(),
            'succeeded', '', 0)""")
    await connection.execute(
        "insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, "
        "finished_at, status, listed) values ($1, 1, '2026-01-01', '2026-01-01', '2026-01-03', "
        "'changed', true)",
        key,
    )

    assert ("0001", revisions()[-1]) == await upgrade(Server(empty_url))

    ask = "select syncer.image_presence('a', 'vm', 'Z-1', $1, $2::text::timestamptz)"
    for image, moment, answer in (
        ("img-1", "2026-01-01", "unknown"),
        ("img-1", "2026-01-02", "present"),
        ("img-2", "2026-01-02", "unknown"),
        ("img-2", "2026-01-03", "absent"),
    ):
        assert answer == await connection.fetchval(ask, image, moment)
    await connection.close()


async def test_a_migration_is_applied_once_however_many_ask(empty_url: str) -> None:
    """Five migrators at once: one applies, all end with the same schema."""
    results: list[tuple[str | None, str]] = []

    async def one() -> None:
        results.append(await upgrade(Server(empty_url)))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)

    assert 1 == [before for before, _ in results].count(None)
    assert {revisions()[-1]} == {after for _, after in results}
    connection = await Server(empty_url).connect()
    assert revisions()[-1] == await installed_revision(connection)
    await connection.close()


async def test_the_printed_sql_makes_the_same_schema(empty_url: str, db: Any) -> None:
    """What ``db upgrade --sql`` prints (and with ``--queue``), run by a DBA, is what it makes."""
    describe = """
        select table_schema, table_name, column_name, data_type, is_nullable, column_default
        from information_schema.columns where table_schema like 'syncer%' order by 1, 2, 3"""
    connection = await asyncpg.connect(empty_url)
    await connection.execute(as_sql())
    await connection.execute(queue.as_sql())
    assert await db.fetch(describe) == await connection.fetch(describe)
    await connection.close()


def test_migrations_are_numbered_and_linear() -> None:
    """The revision of a file is its number, and follows the one before."""
    config = Config()
    config.set_main_option("script_location", str(migrations_root()))
    script = ScriptDirectory.from_config(config)
    walked = [revision.revision for revision in script.walk_revisions()]
    assert list(revisions()) == walked[::-1]


@settings(
    max_examples=60,
    deadline=None,
)
@example(size="30.0")
@example(size=" 3e1\t")
@example(size="30GB")
@example(size="٣٠")
@example(size="\u200330")
@given(
    size=st.one_of(
        st.decimals(allow_nan=False, allow_infinity=False).map(str),
        st.text("0123456789.eE+- \t\n\u2003x", max_size=8),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=6),
    )
)
async def test_sql_and_python_agree_on_what_is_a_size(size: str, fresh: Any) -> None:
    """image_size_gib is a number exactly where Python compares the size as one, and equal to it."""
    key = size_key(size)
    number = await fresh.fetchval("select syncer_store.size_gib($1)::text", size)
    assert (number is None) == (key is not None and key.startswith("text:"))
    if number is not None:
        assert key == size_key(number) or len(number) > 30
