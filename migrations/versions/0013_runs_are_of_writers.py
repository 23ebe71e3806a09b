"""A run at work is a process of a role that may write: who may not can take its id and its key.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    may_write()
    runs()


def may_write() -> None:
    # By a right of its own, or of a role that it belongs to, whether it has that at present or not.
    op.execute("""
        create function syncer_store.may_write(role oid) returns boolean
        language sql stable
        return exists (
            select
            from pg_catalog.pg_class as c
            cross join lateral pg_catalog.aclexplode(
                coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) as a
            where c.oid = 'syncer_store.accounts'::regclass and a.privilege_type = 'UPDATE'
              and (a.grantee = 0 or pg_catalog.pg_has_role(role, a.grantee, 'MEMBER')))""")


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
                   join pg_catalog.pg_stat_activity as s on s.pid = l.pid
                   where a.account = r.account and a.run_id = r.run_id
                     and l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
                     and l.objsubid = 1
                     and ((l.classid::bigint << 32) | l.objid::bigint) = a.lock_key
                     and l.database = (select oid from pg_catalog.pg_database
                                       where datname = current_database())
                     and syncer_store.may_write(s.usesysid)
                   limit 1) end as pid,
               r.zones_unlisted, r.zones_lost
        from syncer_store.runs as r""")
