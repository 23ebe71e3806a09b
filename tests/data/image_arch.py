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
LATER = ("nic_network_type", "image_source", "min_disk_size")
SHOWN = ", ".join(f"{{0}}added ->> '{name}' as {name}" for name in LATER) + ", {0}added"
OF_ZONES = "of_account text, of_service text default null, of_zone_id text default null"
NEW = "{0}added ->> 'image_arch' as image_arch"


def upgrade() -> None:
    from_extra()
    views()
    changed_fields()
    asof()


def from_extra() -> None:
    # What stood in extra is known of the state of today; of the versions before it nothing is.
    op.execute("""
        update syncer_store.images
        set added = coalesce(added, '{}')
                || jsonb_build_object('image_arch', extra ->> 'imageArch'),
            extra = nullif(extra - 'imageArch', '{}')
        where extra ? 'imageArch'""")


def views() -> None:
    # "create or replace" adds columns at the end only, and keeps what was granted. What stands in
    # image_changes as before and after has the column by itself; a column of its own is left out
    # here.
    op.execute(f"""
        create or replace view syncer.images as
        select z.account, z.service, z.zone_id, i.image_id,
               {listed("i")},
               syncer_store.shown_gib(i.image_size) as image_size_gib,
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
               m.missing_since as unlisted_since, {SHOWN.format("i.")},
               {NEW.format("i.")}
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
               syncer_store.shown_gib(v.image_size) as image_size_gib,
               v.valid_from, v.valid_to, v.run_id, v.last_listed_at, {SHOWN.format("v.")},
               v.kind::text as kind, v.closed_kind, v.closed_run_id, {NEW.format("v.")}
        from (
            select i.zone_key, i.image_id, {listed("i")}, i.added, i.valid_from,
                   i.removed_at as valid_to, i.opened_run_id as run_id,
                   case when i.removed_at is not null then i.removed_not_before else (
                       select m.last_listed_at from syncer_store.missing as m
                       where m.zone_key = i.zone_key and m.image_id = i.image_id) end
                       as last_listed_at,
                   i.opened_kind as kind,
                   case when i.removed_run_id is not null then 'removed' end as closed_kind,
                   i.removed_run_id as closed_run_id
            from syncer_store.images as i -- with a join a filter would not reach its index
            union all
            select h.zone_key, h.image_id, {listed("h")}, h.added, h.valid_from, h.valid_to,
                   h.opened_run_id, h.removed_not_before, h.opened_kind,
                   case when h.removed_run_id is not null then 'removed' else 'changed' end,
                   coalesce(h.removed_run_id, (
                       select n.opened_run_id from syncer_store.image_history as n
                       where n.zone_key = h.zone_key and n.image_id = h.image_id
                         and n.valid_from = h.valid_to), (
                       select n.opened_run_id from syncer_store.images as n
                       where n.zone_key = h.zone_key and n.image_id = h.image_id
                         and n.valid_from = h.valid_to))
            from syncer_store.image_history as h
        ) as v
        join syncer_store.zones as z using (zone_key)""")
    op.execute(f"""
        create or replace view syncer.baseline_images as
        select b.name, z.account, z.service, z.zone_id, i.image_id, {listed("i")},
               {SHOWN.format("i.")}, b.name as baseline, {NEW.format("i.")}
        from syncer_store.baselines as b
        join syncer_store.baseline_images as i using (baseline_id)
        join syncer_store.zones as z using (zone_key)""")


def changed_fields() -> None:
    # As in core/normalise.py and core/added.py: sizes differ where their numbers do, and a column
    # that either side does not know does not.
    cases = ",\n                ".join(
        f"case when {differ(name)} then '{name}' end"
        for name in (*TRACKED.split(", "), *LATER, "image_arch")
    )
    op.execute(f"""
        create or replace function syncer_store.changed_fields(before jsonb, after jsonb)
        returns text[]
        language sql immutable parallel safe
        return array_remove(array[
                {cases}], null)""")


def differ(name: str) -> str:
    # Null, and so no difference, where either side has no such key.
    if name != "image_size":
        return f"before -> '{name}' <> after -> '{name}'"
    plain = "syncer_store.plain_size({} ->> 'image_size')"
    return f"{plain.format('before')} is distinct from {plain.format('after')}"


def asof() -> None:
    # What a function returns cannot be replaced: it is dropped, and what was granted on it with it
    # (syncer db roles grants it anew).
    op.execute("drop function syncer.images_asof(timestamptz)")
    op.execute("drop function syncer.images_asof(timestamptz, text, text, text)")
    columns = """
            account text, service text, zone_id text, image_id text, image_name text,
            image_type text, image_size text, image_description text, image_version text,
            image_status text, category text, os_type text, valid_from timestamptz,
            observed_at timestamptz, nic_network_type text, image_source text,
            min_disk_size text, added jsonb, image_arch text"""
    op.execute(f"""
        create function syncer.images_asof(at timestamptz, {OF_ZONES}) returns table ({columns})
        language sql stable rows 10000
        begin atomic
            select account, service, zone_id, v.image_id, {listed("v")}, v.valid_from,
                   greatest(s.seen_at, case
                       when v.run_id <= c.last_complete_run_id then c.last_complete_at
                       else coalesce((
                           select s.observed_at from syncer.zone_scans as s
                           where (s.account, s.service, s.zone_id, s.run_id)
                               = (v.account, v.service, v.zone_id, v.run_id)), v.valid_from)
                       end),
                   v.nic_network_type, v.image_source, v.min_disk_size, v.added, v.image_arch
            from syncer.image_versions as v
            join syncer.zone_coverage(at, of_account, of_service, of_zone_id) as c
                using (account, service, zone_id)
            left join (
                select account, service, zone_id, image_id, max(seen_at) as seen_at
                from syncer.image_gaps
                where ended_by = 'seen' and gap_to <= at
                group by account, service, zone_id, image_id
            ) as s using (account, service, zone_id, image_id)
            where tstzrange(v.valid_from, v.valid_to) @> at and not c.gone
              and (of_account is null or account = of_account)
              and (of_service is null or service = of_service)
              and (of_zone_id is null or zone_id = of_zone_id)
              and (account, service, zone_id, image_id) not in (
                  select g.account, g.service, g.zone_id, g.image_id
                  from syncer.image_gaps as g
                  where g.gap_from <= at and (g.gap_to > at or g.gap_to is null));
        end""")
    op.execute(f"""
        create or replace function syncer.images_asof(at timestamptz) returns table ({columns})
        language sql stable rows 10000
        begin atomic
            select * from syncer.images_asof(at, null, null, null);
        end""")


def listed(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
