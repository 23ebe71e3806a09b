"""`syncer db upgrade` where PostgreSQL refuses: one line that says what to do."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from syncer.core.errors import ConfigError, DatabaseGone, TransactionFailed
from syncer.store.connection import Server, Timing, sql
from syncer.store.migrate import as_sql, upgrade
from syncer.store.schema import revisions
from tests.proxy import Proxy
from tests.support import until


@pytest.fixture
async def owner(empty_url: str) -> AsyncIterator[Any]:
    """A connection to an empty database, as a superuser."""
    async with Server(empty_url).session() as connection:
        yield connection


@pytest.fixture
async def plain(owner: Any) -> AsyncIterator[str]:
    """A login that may connect and no more."""
    name = f"plain_{os.getpid()}"
    await owner.execute(f"create role {name} login")
    yield name
    await owner.execute(f"drop owned by {name}; drop role {name}")


async def line_of(syncer: Any, url: str) -> str:
    """What the command says where it is refused: one line, exit 2."""
    done = await syncer("db", "upgrade", SYNCER_DATABASE_URL=url)
    assert (2, "", 1) == (done.code, done.out, len(done.err.splitlines())), done.err
    return str(done.err)


async def test_without_the_right_to_make_a_schema(
    empty_url: str, owner: Any, plain: str, syncer: Any
) -> None:
    """The most likely refusal of the first command: what to grant, or to hand on."""
    url = empty_url.replace("//syncer@", f"//{plain}@")
    said = await line_of(syncer, url)
    assert "permission denied for database" in said
    assert "(SQLSTATE 42501)" in said
    assert "grant create on database" in said
    assert "syncer db upgrade --sql" in said


async def test_where_the_schema_is_anothers(
    empty_url: str, owner: Any, plain: str, syncer: Any
) -> None:
    """A role that may look at it, and is not its owner."""
    await upgrade(Server(empty_url))
    await owner.execute("update syncer_store.alembic_version set version_num = '0001'")
    await owner.execute(f"grant usage on schema syncer, syncer_store to {plain}")
    await owner.execute(f"grant select on all tables in schema syncer, syncer_store to {plain}")
    url = empty_url.replace("//syncer@", f"//{plain}@")
    assert "run it as the owner" in await line_of(syncer, url)


async def test_read_only(empty_url: str, owner: Any, syncer: Any) -> None:
    """A standby, or a default of role or database."""
    name = urlsplit(empty_url).path[1:]
    await owner.execute(f"alter database {name} set default_transaction_read_only = on")
    said = await line_of(syncer, empty_url)
    assert "read-only transaction (SQLSTATE 25006)" in said
    assert "default_transaction_read_only to off" in said


async def test_without_the_contrib_package(empty_url: str, owner: Any, syncer: Any) -> None:
    """btree_gist is not there to be installed."""
    if owner.get_server_version().major < 18:
        pytest.skip("extension_control_path came with PostgreSQL 18")
    name = urlsplit(empty_url).path[1:]
    await owner.execute(f"alter database {name} set extension_control_path = '/nowhere'")
    said = await line_of(syncer, empty_url)
    assert 'extension "btree_gist" is not available' in said
    assert "postgresql-contrib" in said


async def test_what_nobody_foresaw_has_a_name(empty_url: str, owner: Any, syncer: Any) -> None:
    """An event trigger refuses: exit 1, one line, and nothing is half there."""
    await owner.execute("""
        create function public.refuse() returns event_trigger language plpgsql as $$
        begin raise exception 'not on a Friday'; end $$;
        create event trigger refuse on ddl_command_start when tag in ('CREATE VIEW')
            execute function public.refuse()""")
    try:
        done = await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)
    finally:
        await owner.execute("drop event trigger refuse")
    assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
    assert "refused: not on a Friday (SQLSTATE P0001)" in done.err
    assert None is await owner.fetchval("select to_regclass('syncer_store.runs')::text")
    assert 0 == (await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)).code


async def test_a_connection_that_is_lost_in_a_migration(empty_url: str) -> None:
    """Is a database that went away, whatever SQLAlchemy made of it."""
    async with Proxy(empty_url) as proxy:
        proxy.hook = lambda message: "before" if b"create table syncer_store" in message else None
        with pytest.raises(DatabaseGone):
            await upgrade(Server(proxy.url))
    assert None is not await upgrade(Server(empty_url))
    with pytest.raises(ConfigError, match="refused"):
        await upgrade(Server(empty_url.replace("//syncer@", "//nobody_here@")))


GRANTS = """
    select p.oid::regprocedure::text, p.proacl::text from pg_proc as p
    where pronamespace = 'syncer'::regnamespace order by 1"""


@pytest.mark.parametrize("printed", [False, True], ids=["run", "printed"])
async def test_what_others_may_call_stays(
    empty_url: str, owner: Any, plain: str, printed: bool
) -> None:
    """Grants on what a migration makes anew, and what was taken from everybody."""
    await owner.execute(as_sql("0008"))
    await owner.execute(f"""
        revoke all on function syncer.images_asof, syncer.zone_coverage from public;
        grant execute on function syncer.images_asof to {plain} with grant option;
        grant select on syncer.images to {plain};
        grant select (zone_id) on syncer.zones to {plain}""")
    before = await owner.fetch(GRANTS)
    if printed:
        await owner.execute(as_sql("0008:head"))
    else:
        await upgrade(Server(empty_url))
    after = dict(await owner.fetch(GRANTS))
    assert [tuple(row) for row in before] == [(name, after[name]) for name, _ in before]
    held = "select has_table_privilege($1, 'syncer.images', 'select')"
    assert await owner.fetchval(held, plain)


THEIRS = """
    create schema theirs;
    create view theirs.first with (security_barrier = true) as
        select image_id, observed_at from syncer.images_asof(now());
    create view theirs.second as select image_id as "The Id" from theirs.first;
    comment on view theirs.second is 'it''s mine';
    comment on column theirs.second."The Id" is 'an id';
    create materialized view theirs.daily as select * from syncer.zone_coverage(now());
    create unique index daily_key on theirs.daily (account, service, zone_id);
    create function theirs.later(t timestamptz) returns setof theirs.first language sql
        begin atomic select image_id, observed_at from syncer.images_asof(t); end;
    create table theirs.pins (zone_id text);
    alter table theirs.pins enable row level security;
    create policy known on theirs.pins for select to {plain} using (zone_id in (
        select zone_id from syncer.zone_coverage(now()) where coverage = 'known'));
    create function theirs.ignored() returns trigger language plpgsql as 'begin return new; end';
    create trigger "in Place" instead of insert on theirs.second
        for each row execute function theirs.ignored();
    create rule nothing as on update to theirs.second do instead nothing;
    create view theirs.of_the_store as select withheld from syncer_store.zones;
    create view theirs.not_in_the_way as select image_id, presence from syncer.images;
    revoke all on function theirs.later from public;
    grant select on theirs.first, theirs.second, theirs.daily, theirs.pins to {plain};
    grant execute on function theirs.later to {plain};
    grant usage on schema theirs, syncer to {plain};
    alter view theirs.of_the_store owner to {plain}"""
LIKE_BEFORE = """
    select pg_describe_object(classid, objid, 0) as object, pg_get_userbyid(owner), acl, options,
           replace(replace(definition,
               ', last_complete_finished_at, next_complete_finished_at', ''),
               ', nic_network_type, image_source, min_disk_size, added', ''),
           array(select description from pg_description where objoid = objid order by objsubid)
    from (
        select 'pg_class'::regclass as classid, oid as objid, relowner as owner, relacl as acl,
               reloptions as options,
               case relkind when 'i' then pg_get_indexdef(oid) else pg_get_viewdef(oid) end
               as definition
        from pg_class where relnamespace = 'theirs'::regnamespace and relkind in ('v', 'm', 'i')
        union all
        select 'pg_proc'::regclass, oid, proowner, proacl, null, pg_get_functiondef(oid)
        from pg_proc where pronamespace = 'theirs'::regnamespace
        union all
        select 'pg_trigger'::regclass, oid, 0, null, null, pg_get_triggerdef(oid)
        from pg_trigger where not tgisinternal and pg_get_triggerdef(oid) not like '%syncer_queue%'
        union all
        select 'pg_rewrite'::regclass, oid, 0, null, null, pg_get_ruledef(oid)
        from pg_rewrite where rulename = 'nothing'
        union all
        select 'pg_policy'::regclass, oid, 0, null, null, polroles::text || polcmd::text
               || pg_get_expr(polqual, polrelid) from pg_policy) as o
    order by 1"""


async def test_what_of_others_depends_on_what_is_made_anew(
    empty_url: str, owner: Any, plain: str, syncer: Any
) -> None:
    """It is named, nothing is half done, and what is printed drops it and makes it again."""
    await owner.execute(as_sql("0008"))
    await owner.execute(THEIRS.format(plain=plain))
    before = await owner.fetch(LIKE_BEFORE)
    said = await line_of(syncer, empty_url)
    for name in (
        "by materialized view theirs.daily",
        "view theirs.first",
        "view theirs.second",
        "function theirs.later",
        "policy known on table theirs.pins",
        "view theirs.of_the_store",
        "'syncer db dependents --drop'",
        "SQLSTATE 2BP01",
    ):
        assert name in said, said
    assert "not_in_the_way" not in said
    assert "0008" == await owner.fetchval("select revision from syncer.schema_version")
    assert before == await owner.fetch(LIKE_BEFORE)
    make = await syncer("db", "dependents", SYNCER_DATABASE_URL=empty_url)
    drop = await syncer("db", "dependents", "--drop", SYNCER_DATABASE_URL=empty_url)
    await owner.execute(drop.out)
    assert 0 == (await syncer("db", "upgrade", SYNCER_DATABASE_URL=empty_url)).code
    of_the_store = make.out.index("create view theirs.of_the_store")
    end = make.out.index("\n", make.out.index("owner to", of_the_store))
    await owner.execute(make.out[:of_the_store] + make.out[end:])
    after = await owner.fetch(LIKE_BEFORE)
    assert after == [row for row in before if row["object"] != "view theirs.of_the_store"]
    none = await syncer("db", "dependents", SYNCER_DATABASE_URL=empty_url)
    assert (0, "") == (none.code, none.out)


async def test_who_reads_meanwhile_meets_no_deadlock(empty_url: str, owner: Any) -> None:
    """A statement that locked its view gets its tables: none is locked before all views are."""
    await owner.execute(as_sql("0008"))
    waiting = "select count(*) from pg_locks where not granted and database is not null"
    async with (
        Server(empty_url).session() as reader,
        anyio.create_task_group() as tasks,
        reader.transaction(),
    ):
        await reader.fetch("select * from syncer.zones")
        tasks.start_soon(upgrade, Server(empty_url))
        await until(lambda: owner.fetchval(waiting))
        await reader.execute("lock table syncer_store.runs in access share mode nowait")
    assert revisions()[-1] == await owner.fetchval("select revision from syncer.schema_version")


async def test_who_holds_an_upgrade_up_is_named(empty_url: str, owner: Any, plain: str) -> None:
    """Process, role, since when, and the statement that ends it; exit 1, for it may end by itself.

    Where a role may not see since when, the rest is named all the same.
    """
    await owner.execute(f"grant create on database {urlsplit(empty_url).path[1:]} to {plain}")
    await owner.execute(f"set role {plain}")
    await owner.execute(as_sql("0008"))
    await owner.execute("reset role")
    waits = Timing(migrate=0.1)
    async with Server(empty_url).session(name="a report") as reader, reader.transaction():
        await reader.fetch("select * from syncer.zones")
        pid = reader.get_server_pid()
        ending = f" is in the way: wait for it, or end it: select pg_terminate_backend({pid})"
        with pytest.raises(TransactionFailed, match=r"lock timeout \(SQLSTATE 55P03\)") as caught:
            await upgrade(Server(empty_url, timing=waits))
        _, _, rest = str(caught.value).partition(f"{pid} of role syncer (a report, since ")
        assert re.fullmatch(r"20[0-9: -]+Z\)" + re.escape(ending), rest), caught.value
        as_plain = Server(empty_url.replace("//syncer@", f"//{plain}@"), timing=waits)
        with pytest.raises(TransactionFailed, match=f"process {pid} of role syncer") as caught:
            await upgrade(as_plain)
        assert str(caught.value).endswith(ending)
    assert "0008" == await owner.fetchval("select revision from syncer.schema_version")


async def test_a_deadlock_is_tried_again(empty_url: str, owner: Any) -> None:
    """A transaction that read several views may still be in the way, and the server ends ours."""
    await owner.execute("""
        create sequence public.tried;
        create function public.refuse() returns event_trigger language plpgsql as $$
        begin
            if nextval('public.tried') < 3 then
                raise exception 'deadlock detected' using errcode = 'deadlock_detected';
            end if;
        end $$;
        create event trigger refuse on ddl_command_start when tag in ('CREATE EXTENSION')
            execute function public.refuse()""")
    try:
        assert (None, revisions()[-1]) == await upgrade(Server(empty_url))
    finally:
        await owner.execute("drop event trigger refuse")


@pytest.mark.parametrize("by_the_owner", [True, False])
async def test_roles_that_a_superuser_made_may_use_what_an_upgrade_adds(
    by_the_owner: bool, empty_url: str, owner: Any, plain: str, syncer: Any
) -> None:
    """What is new is for the roles, whoever made them, and whoever upgrades."""
    name = urlsplit(empty_url).path[1:]
    await owner.execute(f"grant create on database {name} to {plain}; set role {plain}")
    await owner.execute(as_sql("0008"))
    await owner.execute("reset role")
    await owner.execute(sql("schema/roles"))
    login = plain if by_the_owner else "syncer"
    await upgrade(Server(empty_url.replace("//syncer@", f"//{login}@")))
    assert [] == await owner.fetch("""
        select c.oid::regclass::text from pg_class as c, (values
            ('syncer_reader', 'syncer', 'select'), ('syncer_writer', 'syncer', 'select'),
            ('syncer_writer', 'syncer_store', 'insert')) as may (role, space, privilege)
        where c.relnamespace = may.space::regnamespace
          and c.relkind in ('r', 'v') and c.relname <> 'alembic_version'
          and not has_table_privilege(may.role, c.oid, may.privilege)
        union all
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace = 'syncer'::regnamespace
          and not has_function_privilege('syncer_reader', p.oid, 'execute')""")
    version = "syncer_store.alembic_version"  # which is the owner's
    may_write = "select has_table_privilege('syncer_writer', $1, 'insert, update, delete')"
    assert not await owner.fetchval(may_write, version)
    await owner.execute("drop owned by syncer_reader, syncer_writer")
