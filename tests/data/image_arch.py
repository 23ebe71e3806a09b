"""Track a further field, as a migration does it: ``image_arch``, which stood in ``extra`` so far.

For ``test_new_field``, which copies it beside the real ones; and an example for the next field.

Revision ID: 9999
Revises: the newest
"""

from alembic import op

revision = "9999"
down_revision = "HEAD"  # the test puts the newest revision here
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)
ALL = f"{TRACKED}, image_arch"


def upgrade() -> None:
    columns()
    views()
    changes()
    asof()


def columns() -> None:
    # What stood in extra is what is stored from here on. A past value is not known, since extra has
    # no history: versions and baselines get the value of today, so that nothing that compares them
    # over this migration takes the first fill of the column for a change of the image.
    for table in ("images", "image_history", "baseline_images"):
        op.execute(f"alter table syncer_store.{table} add column image_arch text")
    op.execute("""
        update syncer_store.images
        set image_arch = extra ->> 'imageArch', extra = nullif(extra - 'imageArch', '{}')
        where extra ? 'imageArch'""")
    for table in ("image_history", "baseline_images"):
        op.execute(f"""
            update syncer_store.{table} as t set image_arch = i.image_arch
            from syncer_store.images as i
            where (i.zone_key, i.image_id) = (t.zone_key, t.image_id)
              and i.image_arch is not null""")


def views() -> None:
    # "create or replace" adds columns at the end only, and keeps what was granted.
    op.execute(f"""
        create or replace view syncer.images as
        select z.account, z.service, z.zone_id, i.image_id,
               {listed("i", TRACKED)},
               syncer_store.size_gib(i.image_size) as image_size_gib,
               coalesce(i.extra, '{{}}') as extra, i.fingerprint,
               case when z.gone_at is not null then 'unknown'
                    when i.removed_at is not null then 'absent'
                    when m.image_id is not null then 'unknown'
                    else 'present' end as presence,
               i.first_seen_at, coalesce(i.removed_at, i.valid_from) as changed_at, i.removed_at,
               m.withheld_since,
               case when m.image_id is not null then m.last_listed_at
                    when i.removed_at is not null then i.removed_not_before
                    else greatest( -- as syncer_store.last_seen, which a reader may not call
                        z.whole_at, g.seen_at, case when i.opened_run_id > z.whole_run_id
                                                      or z.whole_run_id is null then (
                            select s.observed_at from syncer_store.zone_scans as s
                            where s.zone_key = i.zone_key and s.run_id = i.opened_run_id) end) end
                   as observed_at,
               m.missing_since as unlisted_since, i.image_arch
        from syncer_store.images as i
        join (
            select z.zone_key, z.account, z.service, z.zone_id, z.gone_at,
                   whole.run_id as whole_run_id, whole.observed_at as whole_at
            from syncer_store.zones as z
            left join lateral (
                select s.run_id, s.observed_at from syncer_store.zone_scans as s
                where s.zone_key = z.zone_key and s.status in ('unchanged', 'changed', 'guarded')
                order by s.run_id desc limit 1) as whole on true
        ) as z using (zone_key)
        left join syncer_store.missing as m
            on m.zone_key = i.zone_key and m.image_id = i.image_id
        left join (
            select zone_key, image_id, max(seen_at) as seen_at from syncer_store.image_gaps
            where ended_by = 'seen'
            group by zone_key, image_id
        ) as g on g.zone_key = i.zone_key and g.image_id = i.image_id""")
    op.execute(f"""
        create or replace view syncer.image_versions as
        select z.account, z.service, z.zone_id, v.image_id,
               {TRACKED},
               syncer_store.size_gib(v.image_size) as image_size_gib,
               v.valid_from, v.valid_to, v.run_id, v.last_listed_at, v.image_arch
        from (
            select i.zone_key, i.image_id, {listed("i", ALL)}, i.valid_from,
                   i.removed_at as valid_to, i.opened_run_id as run_id,
                   case when i.removed_at is not null then i.removed_not_before else (
                       select m.last_listed_at from syncer_store.missing as m
                       where m.zone_key = i.zone_key and m.image_id = i.image_id) end
                       as last_listed_at
            from syncer_store.images as i -- with a join a filter would not reach its index
            union all
            select zone_key, image_id, {ALL}, valid_from, valid_to, opened_run_id,
                   removed_not_before
            from syncer_store.image_history
        ) as v
        join syncer_store.zones as z using (zone_key)""")
    op.execute(f"""
        create or replace view syncer.baseline_images as
        select b.name, z.account, z.service, z.zone_id, i.image_id, {ALL}
        from syncer_store.baselines as b
        join syncer_store.baseline_images as i using (baseline_id)
        join syncer_store.zones as z using (zone_key)""")


def changes() -> None:
    op.execute("""
        create function syncer_store.tracked_json(
            image_name text, image_type text, image_size text, image_description text,
            image_version text, image_status text, category text, os_type text, image_arch text
        ) returns jsonb language sql stable parallel safe
        return jsonb_build_object(
            'image_name', image_name, 'image_type', image_type, 'image_size', image_size,
            'image_description', image_description, 'image_version', image_version,
            'image_status', image_status, 'category', category, 'os_type', os_type,
            'image_arch', image_arch)""")
    version = f"""
                   zone_key, image_id, {ALL}, valid_from, opened_kind, opened_run_id,
                   opened_ordinal, opened_not_before, changed_fields"""
    removal = f"""
                   zone_key, image_id, {ALL}, removed_run_id, removed_ordinal,
                   removed_not_before"""
    op.execute(f"""
        create or replace view syncer.image_changes as
        select r.change_base + c.ordinal as change_id,
               c.changed_at, c.not_before, c.kind,
               z.account, z.service, z.zone_id, c.image_id, c.image_name,
               c.changed_fields, c.before, c.after, c.run_id,
               c.kind = 'appeared' and c.run_id is not distinct from z.first_run_id as first_look,
               case c.kind when 'removed' then 'breaking'
                    else syncer_store.severity(c.changed_fields) end as severity
        from (
            select v.zone_key, v.image_id, v.image_name, v.opened_run_id as run_id,
                   v.opened_ordinal as ordinal, v.valid_from as changed_at,
                   v.opened_not_before as not_before, v.opened_kind::text as kind,
                   coalesce(v.changed_fields, '{{}}') as changed_fields,
                   case when v.opened_kind <> 'appeared' then (
                       select syncer_store.tracked_json({listed("p", ALL)})
                       from syncer_store.image_history as p
                       where p.zone_key = v.zone_key and p.image_id = v.image_id
                         and p.valid_from < v.valid_from
                       order by p.valid_from desc limit 1) end as before,
                   syncer_store.tracked_json({listed("v", ALL)}) as after
            from (
                select {version} from syncer_store.images
                union all
                select {version} from syncer_store.image_history
            ) as v
            union all
            select v.zone_key, v.image_id, v.image_name, v.removed_run_id, v.removed_ordinal,
                   v.removed_at, v.removed_not_before, 'removed', '{{}}',
                   syncer_store.tracked_json({listed("v", ALL)}), null
            from (
                select {removal}, removed_at from syncer_store.images
                where removed_run_id is not null
                union all
                select {removal}, valid_to from syncer_store.image_history
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
    op.execute("""
        drop function syncer_store.tracked_json(
            text, text, text, text, text, text, text, text)""")


def asof() -> None:
    # What a function returns cannot be replaced: it is dropped, and what was granted on it with it
    # (syncer db roles grants it anew).
    op.execute("drop function syncer.images_asof(timestamptz)")
    op.execute(f"""
        create function syncer.images_asof(at timestamptz) returns table (
            account text, service text, zone_id text, image_id text, image_name text,
            image_type text, image_size text, image_description text, image_version text,
            image_status text, category text, os_type text, valid_from timestamptz,
            observed_at timestamptz, image_arch text)
        language sql stable rows 10000
        begin atomic
            select account, service, zone_id, v.image_id, {TRACKED}, v.valid_from,
                   greatest(s.seen_at, case
                       when v.run_id <= c.last_complete_run_id then c.last_complete_at
                       else coalesce((
                           select s.observed_at from syncer.zone_scans as s
                           where (s.account, s.service, s.zone_id, s.run_id)
                               = (v.account, v.service, v.zone_id, v.run_id)), v.valid_from)
                       end),
                   v.image_arch
            from syncer.image_versions as v
            join syncer.zone_coverage(at) as c using (account, service, zone_id)
            left join (
                select account, service, zone_id, image_id, max(seen_at) as seen_at
                from syncer.image_gaps
                where ended_by = 'seen' and gap_to <= at
                group by account, service, zone_id, image_id
            ) as s using (account, service, zone_id, image_id)
            where tstzrange(v.valid_from, v.valid_to) @> at and not c.gone
              and (account, service, zone_id, image_id) not in (
                  select g.account, g.service, g.zone_id, g.image_id
                  from syncer.image_gaps as g
                  where g.gap_from <= at and (g.gap_to > at or g.gap_to is null));
        end""")


def listed(alias: str, columns: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in columns.split(", "))
