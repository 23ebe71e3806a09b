"""What is no longer kept is unknown; looks that found nothing new are kept by their times.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)
VERSION = f"""
                   zone_key, image_id, {TRACKED}, valid_from, opened_kind, opened_run_id,
                   opened_ordinal, opened_not_before, changed_fields"""
REMOVAL = f"""
                   zone_key, image_id, {TRACKED}, removed_run_id, removed_ordinal,
                   removed_not_before"""

# As in 0002, but nothing is looked for before the kept time (k): there all is unknown.
LAST_RUN = """
                left join syncer_store.retention as k on k.zone_key = z.zone_key
                left join lateral (
                    select run_id from syncer_store.runs as r
                    where r.account = z.account and r.started_at <= at
                      and (k.kept_from is null or at >= k.kept_from)
                    order by r.started_at desc limit 1) as b on true"""
LAST_LOOK = """
                left join lateral (
                    select s.status from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id <= b.run_id and s.finished_at <= at
                      and s.status in ('unchanged', 'changed', 'guarded', 'gone')
                    order by s.run_id desc limit 1) as look on true"""


def upgrade() -> None:
    tables()
    looks()
    changes()


def tables() -> None:
    # In a table of its own, as zone_digests is: zones stay narrow, and a prune never waits for a
    # run that holds a zone's row.
    op.execute("""
        create table syncer_store.retention (
            zone_key   integer primary key,
            kept_from  timestamptz,
            thinned_to bigint not null default 0
        )""")
    op.execute("""
        comment on table syncer_store.retention is
        'What prune left of a zone: all from kept_from on, thinned scans up to run thinned_to'""")
    # zone_scans is written for every zone in every run and is not widened for what is old.
    op.execute("""
        create table syncer_store.stretches (
            zone_key integer not null,
            run_id   bigint not null,
            run_ids  bigint[] not null,
            observed timestamptz[] not null,
            finished timestamptz[] not null,
            primary key (zone_key, run_id),
            constraint stretches_are_of_looks check (
                cardinality(run_ids) > 0
                and cardinality(run_ids) = cardinality(observed)
                and cardinality(run_ids) = cardinality(finished))
        )""")
    op.execute("""
        comment on table syncer_store.stretches is
        'The times of scans that came to the same as the row of run_id, and the row after them'""")


def looks() -> None:
    op.execute("""
        create or replace view syncer.zones as
        select z.account, z.service, z.zone_id, z.zone_name, z.attributes, z.first_seen_at,
               seen.observed_at as last_seen_at, z.gone_at,
               whole.observed_at as last_complete_at,
               last.observed_at as last_attempt_at, last.status as last_status,
               z.present as present_images, z.withheld as withheld_removals,
               a.max_removals as approved_removals, k.kept_from
        from syncer_store.zones as z
        left join syncer_store.approvals as a on a.zone_key = z.zone_key and a.outcome is null
        left join syncer_store.retention as k on k.zone_key = z.zone_key
        left join lateral (
            select observed_at, status from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key order by s.run_id desc limit 1) as last on true
        left join lateral (
            select observed_at from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key and s.status in ('unchanged', 'changed', 'guarded')
            order by s.run_id desc limit 1) as whole on true
        left join lateral (
            select observed_at from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key and (s.listed or s.status not in ('failed', 'gone'))
            order by s.run_id desc limit 1) as seen on true""")
    op.execute("""
        comment on column syncer.zones.kept_from is
        'Before it nothing is known of the zone any more: see syncer prune (null: all is kept)'""")
    op.execute("""
        create or replace view syncer.zone_scans as
        select s.run_id, z.account, z.service, z.zone_id, s.started_at, s.observed_at,
               s.finished_at, s.status, s.pages, s.images, s.appeared, s.changed, s.removed,
               s.returned, s.withheld, s.rejected, s.rereads, s.error_code, s.error_message,
               s.request_id, 1 + coalesce(cardinality(t.run_ids), 0) as looks
        from syncer_store.zone_scans as s
        join syncer_store.zones as z using (zone_key)
        left join syncer_store.stretches as t on t.zone_key = s.zone_key and t.run_id = s.run_id""")
    op.execute("""
        comment on column syncer.zone_scans.looks is
        'The scans that this row stands for: its own, and those after it that came to the same'""")

    # gone is null before the kept time: whether it was gone is not known either. So images_asof,
    # which wants it false, shows nothing of the zone there.
    op.execute(f"""
        create or replace function syncer.zone_coverage(at timestamptz) returns table (
            account text, service text, zone_id text, last_complete_at timestamptz,
            next_complete_at timestamptz, coverage text, gone boolean,
            last_complete_run_id bigint)
        language sql stable security definer set search_path = '' rows 100
        begin atomic
            select z.account, z.service, z.zone_id,
                   coalesce(inside.observed_at, whole.observed_at),
                   coalesce(beyond.observed_at, later.observed_at),
                   case when look.status <> 'gone' then 'known' else 'unknown' end,
                   case when k.kept_from is null or at >= k.kept_from
                       then coalesce(look.status = 'gone', false) end,
                   coalesce(inside.run_id, whole.run_id)
            from syncer_store.zones as z {LAST_RUN} {LAST_LOOK}
                left join lateral (
                    select s.observed_at, s.run_id from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id <= b.run_id and s.finished_at <= at
                      and s.status in ('unchanged', 'changed', 'guarded')
                    order by s.run_id desc limit 1) as whole on true
                left join lateral (
                    select u.observed_at, u.run_id
                    from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed, t.finished)
                             as u (run_id, observed_at, finished_at)
                    where t.zone_key = z.zone_key and t.run_id = whole.run_id
                      and u.run_id <= b.run_id and u.finished_at <= at
                    order by u.run_id desc limit 1) as inside on true
                left join lateral (
                    select u.observed_at
                    from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed, t.finished)
                             as u (run_id, observed_at, finished_at)
                    where t.zone_key = z.zone_key and t.run_id = whole.run_id
                      and u.run_id >= b.run_id and u.finished_at > at
                    order by u.run_id limit 1) as beyond on true
                left join lateral (
                    select s.observed_at from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id >= coalesce(b.run_id, 0)
                      and (k.kept_from is null or at >= k.kept_from)
                      and s.finished_at > at
                      and s.status in ('unchanged', 'changed', 'guarded')
                    order by s.run_id limit 1) as later on true;
        end""")
    op.execute(f"""
        create or replace function syncer.image_presence(
            account text, service text, zone_id text, image_id text, at timestamptz
        ) returns text language sql stable security definer set search_path = ''
        return coalesce((
            select case when at < k.kept_from or look.status = 'gone' then 'unknown'
                        when exists (
                            select from syncer_store.images as i
                            where i.zone_key = z.zone_key and i.image_id = $4
                              and tstzrange(i.valid_from, i.removed_at) @> at) then 'present'
                        when exists (
                            select from syncer_store.image_history as i
                            where i.zone_key = z.zone_key and i.image_id = $4
                              and tstzrange(i.valid_from, i.valid_to) @> at) then 'present'
                        when look.status is not null then 'absent'
                        else 'unknown' end
            from syncer_store.zones as z {LAST_RUN} {LAST_LOOK}
            where z.account = $1 and z.service = $2 and z.zone_id = $3), 'unknown')""")


def changes() -> None:
    # A change is told whole or not at all: one whose state before went is left out. Of a change in
    # the kept time it never goes.
    op.execute(f"""
        create or replace view syncer.image_changes as
        select r.change_base + c.ordinal as change_id,
               c.changed_at, c.not_before, c.kind,
               z.account, z.service, z.zone_id, c.image_id, c.image_name,
               c.changed_fields, c.before, c.after, c.run_id
        from (
            select v.zone_key, v.image_id, v.image_name, v.opened_run_id as run_id,
                   v.opened_ordinal as ordinal, v.valid_from as changed_at,
                   v.opened_not_before as not_before, v.opened_kind::text as kind,
                   coalesce(v.changed_fields, '{{}}') as changed_fields,
                   case when v.opened_kind <> 'appeared' then (
                       select syncer_store.tracked_json({qualified("p")})
                       from syncer_store.image_history as p
                       where p.zone_key = v.zone_key and p.image_id = v.image_id
                         and p.valid_from < v.valid_from
                       order by p.valid_from desc limit 1) end as before,
                   syncer_store.tracked_json({qualified("v")}) as after
            from (
                select {VERSION} from syncer_store.images
                union all
                select {VERSION} from syncer_store.image_history
            ) as v
            union all
            select v.zone_key, v.image_id, v.image_name, v.removed_run_id, v.removed_ordinal,
                   v.removed_at, v.removed_not_before, 'removed', '{{}}',
                   syncer_store.tracked_json({qualified("v")}), null
            from (
                select {REMOVAL}, removed_at from syncer_store.images
                where removed_run_id is not null
                union all
                select {REMOVAL}, valid_to from syncer_store.image_history
                where removed_run_id is not null
            ) as v
        ) as c
        join syncer_store.zones as z using (zone_key)
        join syncer_store.runs as r on r.run_id = c.run_id and r.change_base is not null
        left join syncer_store.retention as k on k.zone_key = c.zone_key
        where k.kept_from is null or c.changed_at > k.kept_from
           or c.kind in ('appeared', 'removed')
           or exists (
               select from syncer_store.image_history as p
               where p.zone_key = c.zone_key and p.image_id = c.image_id
                 and p.valid_from < c.changed_at)""")


def qualified(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
