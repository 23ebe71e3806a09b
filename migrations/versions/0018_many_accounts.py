"""What grows with a thousand accounts is found by an index: runs, and the changes of the feed.

Measured on PostgreSQL 18 with 1,000 accounts, 60,000 zones, 12 million images, 2.4 million closed
versions and 3.8 million runs (40 days, every 15 minutes).

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    running_pid()
    runs()
    indexes()
    vacuuming()


def running_pid() -> None:
    # What is in pg_locks may differ from look to look, so a view that looks there itself is never
    # made one with a query: each question about syncer.runs read every run (the newest twenty: 6 to
    # 11 s). A function that says it is stable, and that is not inlined, leaves the view plain. It
    # reads what a reader may not.
    op.execute("""
        create function syncer_store.running_pid(of_account text, of_run bigint) returns integer
        language sql stable security definer set search_path to ''
        return (
            select l.pid
            from syncer_store.accounts as a
            join pg_catalog.pg_locks as l on l.pid = a.pid
            join pg_catalog.pg_stat_activity as s on s.pid = l.pid
            where a.account = of_account and a.run_id = of_run
              and l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
              and l.objsubid = 1
              and ((l.classid::bigint << 32) | l.objid::bigint) = a.lock_key
              and l.database = (select oid from pg_catalog.pg_database
                                where datname = pg_catalog.current_database())
              and syncer_store.may_write(s.usesysid)
            limit 1)""")


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
               case when r.status = 'running'
                    then syncer_store.running_pid(r.account, r.run_id) end as pid,
               r.zones_unlisted, r.zones_lost, r.changes
        from syncer_store.runs as r""")
    op.execute("""
        comment on column syncer.runs.changes is
        'How many changes of the feed it holds, the last of them last_change_id'""")


def indexes() -> None:
    # Which runs hold the changes after one of the feed: only runs with changes are in it.
    op.execute("""
        create index runs_changing on syncer_store.runs ((change_base + changes))
        where changes > 0""")
    # Without them the planner expects a third of all runs: a partial index has none that it uses.
    op.execute("""
        create statistics syncer_store.runs_end on (change_base + changes)
        from syncer_store.runs""")
    # And which images they opened. It left out those of a zone's first look, to spare the first
    # load; but then the feed had to read every image to find none of them.
    op.execute("""
        -- squawk-ignore require-concurrent-index-deletion
        drop index syncer_store.images_opened""")
    op.execute("create index images_opened on syncer_store.images (opened_run_id)")
    # A run that begins looks for those of its account that have not ended: it read all of them, 22
    # ms where there were 3,840 (40 days), and each zone's coverage did so again. Now 0.3 ms.
    op.execute("""
        create index runs_running on syncer_store.runs (account) where status = 'running'""")


def vacuuming() -> None:
    # Prune deletes a day's share of many days: by default a fifth of the table would have to be
    # dead before its room is used again.
    for table in ("zone_scans", "runs", "image_history", "stretches"):
        op.execute(f"""
            alter table syncer_store.{table} set (
                autovacuum_vacuum_scale_factor = 0.02,
                autovacuum_analyze_scale_factor = 0.02)""")
