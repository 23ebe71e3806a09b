"""The account's row says which run is at work; stamps of an account only go forward.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    nobody_is_at_work()
    accounts()
    feed()
    time_line()
    runs()


def nobody_is_at_work() -> None:
    # A run of an older program is kept apart from others by advisory locks, which newer ones do not
    # look at. So none may be at work now; none can begin later, as it does not know this schema.
    op.execute("""
        do $$
        declare
            busy record;
        begin
            for busy in
                select r.run_id, r.account,
                       ('x' || encode(substr(sha256(convert_to('syncer:run:' || r.account, 'UTF8')),
                                             1, 8), 'hex'))::bit(64)::bigint as lock_key
                from syncer_store.runs as r
                where r.status = 'running'
            loop
                if not pg_try_advisory_xact_lock(busy.lock_key) then
                    raise exception using
                        message = 'run ' || busy.run_id || ' of account ' || busy.account
                            || ' is at work: upgrade when it ended',
                        errcode = 'lock_not_available';
                end if;
            end loop;
        end $$""")


def accounts() -> None:
    op.execute("""
        create table syncer_store.accounts (
            account   text collate "C" primary key,
            run_id    bigint,
            pid       integer,
            lock_key  bigint
        )""")
    op.execute("""
        create table syncer_store.prunes (
            account  text collate "C" primary key,
            pid      integer not null,
            lock_key bigint not null
        )""")
    op.execute("""
        comment on table syncer_store.prunes is
        'The prune that is at work holds the advisory lock lock_key in process pid'""")
    op.execute("""
        comment on table syncer_store.accounts is
        'Whoever begins, ends or writes a run of the account locks its row; the run that is at work'
        ' holds the advisory lock lock_key in process pid'""")
    op.execute("""
        insert into syncer_store.accounts (account, run_id)
        select account, max(run_id)
        from (select account, run_id from syncer_store.runs
              union all
              select account, null from syncer_store.zones) as known
        group by account""")


def feed() -> None:
    op.execute("""
        create table syncer_store.feed (
            only_row       boolean primary key default true check (only_row),
            last_change_id bigint not null
        )""")
    op.execute("""
        comment on table syncer_store.feed is
        'How far changes are numbered; its row is locked after that of the account'""")
    op.execute("""
        insert into syncer_store.feed (last_change_id)
        select coalesce(max(change_base + changes), 0) from syncer_store.runs""")


def time_line() -> None:
    op.execute("alter table syncer_store.runs add column clock_at timestamptz")
    op.execute("""
        comment on column syncer_store.runs.clock_at is
        'The clock when the run began: as far as started_at is ahead of it, all its stamps are'
        ' (null: by as much as nothing)'""")
    op.execute("alter table syncer_store.zones add column newest_at timestamptz")
    op.execute("""
        comment on column syncer_store.zones.newest_at is
        'The newest stamp that was written with this row: runs begin after it'""")


def runs() -> None:
    op.execute("""
        create or replace view syncer.runs as
        select r.run_id, r.account, r.started_at, r.finished_at, r.deadline_at, r.status, r.zones,
               r.zones_unchanged, r.zones_changed, r.zones_incomplete, r.zones_failed,
               r.zones_guarded, r.zones_gone, r.pages, r.images, r.appeared, r.changed, r.removed,
               r.returned, r.withheld, r.rejected, r.rereads, r.calls, r.retries, r.error_code,
               r.error_message, r.selection, r.syncer_version,
               r.change_base + r.changes as last_change_id,
               coalesce(r.clock_at, r.started_at) as clock_at,
               case when r.status = 'running' then (
                   select l.pid
                   from syncer_store.accounts as a
                   join pg_catalog.pg_locks as l on l.pid = a.pid
                   where a.account = r.account and a.run_id = r.run_id
                     and l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
                     and l.objsubid = 1
                     and ((l.classid::bigint << 32) | l.objid::bigint) = a.lock_key
                     and l.database = (select oid from pg_catalog.pg_database
                                       where datname = current_database())
                   limit 1) end as pid
        from syncer_store.runs as r""")
    op.execute("""
        comment on column syncer.runs.clock_at is
        'The clock when the run began; started_at is later where the clock had stepped back'""")
    op.execute("""
        comment on column syncer.runs.pid is
        'The process of PostgreSQL that a run at work has its lock in; null where it is gone'""")
