"""What a change means to who uses the image: breaking or cosmetic.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)


def upgrade() -> None:
    severity()
    changes()
    field_changes()


def severity() -> None:
    # The one place that says of which class a field is: a launch may be refused, or come to another
    # system, because of these. nic_network_type and min_disk_size are fields of zec.
    op.execute("""
        create function syncer_store.severity(fields text[]) returns text
        language sql immutable parallel safe
        return case
            when fields && array[
                'image_status', 'image_size', 'min_disk_size', 'nic_network_type', 'os_type',
                'image_version'] then 'breaking'
            when fields <> '{}' then 'cosmetic' end""")


def changes() -> None:
    # As in 0010, with a column more.
    version = f"""
                   zone_key, image_id, {TRACKED}, valid_from, opened_kind, opened_run_id,
                   opened_ordinal, opened_not_before, changed_fields"""
    removal = f"""
                   zone_key, image_id, {TRACKED}, removed_run_id, removed_ordinal,
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
                       select syncer_store.tracked_json({listed("p")})
                       from syncer_store.image_history as p
                       where p.zone_key = v.zone_key and p.image_id = v.image_id
                         and p.valid_from < v.valid_from
                       order by p.valid_from desc limit 1) end as before,
                   syncer_store.tracked_json({listed("v")}) as after
            from (
                select {version} from syncer_store.images
                union all
                select {version} from syncer_store.image_history
            ) as v
            union all
            select v.zone_key, v.image_id, v.image_name, v.removed_run_id, v.removed_ordinal,
                   v.removed_at, v.removed_not_before, 'removed', '{{}}',
                   syncer_store.tracked_json({listed("v")}), null
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
        comment on column syncer.image_changes.severity is
        'breaking (a launch may fail or differ, or it is gone) or cosmetic; null: it appeared'""")


def field_changes() -> None:
    op.execute("""
        create or replace view syncer.image_field_changes as
        select c.change_id, c.changed_at, c.account, c.service, c.zone_id, c.image_id,
               c.image_name, f.field, c.before ->> f.field as old_value,
               c.after ->> f.field as new_value, c.run_id,
               syncer_store.severity(array[f.field]) as severity
        from syncer.image_changes as c
        cross join lateral unnest(c.changed_fields) as f (field)""")
    op.execute("""
        comment on column syncer.image_field_changes.severity is
        'breaking or cosmetic: the class of the field'""")


def listed(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
