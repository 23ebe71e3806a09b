"""What differs between two instants, what became of a pin, and flat columns for tools for BI.

Revision ID: 0024
Revises: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)
LATER = ("nic_network_type", "image_source", "min_disk_size")
SHOWN = ", ".join(f"{{0}}added ->> '{name}' as {name}" for name in LATER) + ", {0}added"
OF_ZONES = "of_account text, of_service text default null, of_zone_id text default null"
KEY = {
    "account": "The credentials that it was read with, by the name that you gave them",
    "service": "vm, zec or bmc: the service of Zenlayer Cloud whose image it is",
    "zone_id": "The zone, by its id in the API; bmc has the one zone *",
    "image_id": "The image, by its id in the API; the same id may occur in several zones",
}
TRACKED_MEANING = {
    "image_type": "Whose image it is: PUBLIC_IMAGE or CUSTOM_IMAGE",
    "image_size": "The size in GiB, as the API sent it: text, for instance 30",
    "image_size_gib": "The size in GiB, as a number (null: there is none, or it is beyond 10^12)",
    "image_description": "The description",
    "image_version": "The version of the operating system",
    "image_status": "Whether it can be used: for instance AVAILABLE",
    "category": "The family that it belongs to: for instance Ubuntu",
    "os_type": "The kind of operating system: for instance linux",
    "nic_network_type": "Of zec: the network types it works with, as JSON (null: not known)",
    "image_source": "Of zec: where the image comes from (null: not known)",
    "min_disk_size": "Of zec: the smallest disk it needs, in GiB, as text (null: not known)",
}
COMMENTS = {
    "images": {"image_size_gib": TRACKED_MEANING["image_size_gib"]},
    "image_versions": {
        "image_size_gib": TRACKED_MEANING["image_size_gib"],
        "kind": "How the state began: appeared, changed, or returned (after it was removed)",
        "closed_kind": "How it ended: changed or removed (null: it is the current state)",
        "closed_run_id": "The run that saw that it was over (null: it is the current state)",
    },
    "image_changes": {
        "changed_fields_text": "The columns that differ, as text, a comma between them",
        **{
            name: f"{meaning.split(' (')[0]}; after the change, or before a removal"
            for name, meaning in TRACKED_MEANING.items()
        },
    },
    "image_field_changes": {
        "kind": "changed, or returned (seen again after it was removed)",
        "not_before": "When the old value was seen last: the true change lies between this and "
        "changed_at",
    },
    "baseline_images": {"baseline": "The name of the baseline, the same as name"},
    "image_spread_zones": {
        "": "Each name that zones do not offer alike, zone by zone: what it offers, or that it "
        "lacks it; image_spread without arrays",
        "account": KEY["account"],
        "service": KEY["service"],
        "image_name": "The name that zones do not offer alike",
        "zone_id": "The zone, by its id in the API",
        "offered": "Whether the zone has an image of that name",
        "image_id": "The image that it offers under the name (null: none)",
        "image_version": "Its version",
        "image_size": "Its size in GiB, as text",
        "image_status": "Its status",
        "zone_count": "How many zones offer the name",
        "missing_count": "How many zones were read whole and do not",
    },
}
FUNCTIONS = {
    "zone_coverage(timestamptz, text, text, text)": "Each zone of an account (null: of all), of a "
    "service and with an id if they are given, at an instant: whether it was known what it offers",
    "images_asof(timestamptz, text, text, text)": "The images that were present at an instant in "
    "the zones of an account (null: of all), of a service and with an id if they are given",
    "changes_between(timestamptz, timestamptz, text, text, text)": "What differs between two "
    "instants: what appeared, changed or was removed, and of which zones or images it is unknown; "
    "of an account, a service and a zone if they are given",
    "pin_status(text, text, text, text)": "What became of an image that is used somewhere, by zone "
    "and id: present, removed or unknown, since when, and what is there instead",
}


def upgrade() -> None:
    gib()
    images()
    versions()
    changes()
    field_changes()
    baseline_images()
    spread_zones()
    coverage()
    asof()
    changed_fields()
    changes_between()
    pin_status()
    for view, columns in COMMENTS.items():
        for column, meaning in columns.items():
            of = f"column syncer.{view}.{column}" if column else f"view syncer.{view}"
            op.execute(f"comment on {of} is '{meaning}'")
    for function, meaning in FUNCTIONS.items():
        op.execute(f"comment on function syncer.{function} is '{meaning}'")


def gib() -> None:
    # What is compared is the number itself (plain_size); what is shown is one that other tools can
    # hold: decimals of 28 digits, or doubles.
    op.execute("""
        create function syncer_store.shown_gib(size text) returns numeric
        language sql immutable parallel safe
        return case when abs(syncer_store.size_gib(size)) < 1e12
                    then trim_scale(round(syncer_store.size_gib(size), 6)) end""")


def images() -> None:
    # As in 0016, with another image_size_gib.
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
               m.missing_since as unlisted_since, {SHOWN.format("i.")}
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


def versions() -> None:
    # As in 0016, with how each ended: the run of a change is that of the version after it.
    op.execute(f"""
        create or replace view syncer.image_versions as
        select z.account, z.service, z.zone_id, v.image_id,
               {TRACKED},
               syncer_store.shown_gib(v.image_size) as image_size_gib,
               v.valid_from, v.valid_to, v.run_id, v.last_listed_at, {SHOWN.format("v.")},
               v.kind::text as kind, v.closed_kind, v.closed_run_id
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


def changes() -> None:
    # As in 0016, with the tracked columns as columns of their own. What was never removed has no
    # run to be joined with; a condition that says so as well would keep the order of runs, which
    # indexes have, from being used.
    version = f"""
                   zone_key, image_id, {TRACKED}, added, valid_from, opened_kind, opened_run_id,
                   opened_ordinal, opened_not_before, changed_fields"""
    removal = f"""
                   zone_key, image_id, {TRACKED}, added, removed_run_id, removed_ordinal,
                   removed_not_before"""
    rest = listed("v").removeprefix("v.image_name, ")
    further = ", ".join(f"c.added ->> '{name}' as {name}" for name in LATER)
    op.execute(f"""
        create or replace view syncer.image_changes as
        select r.change_base + c.ordinal as change_id,
               c.changed_at, c.not_before, c.kind,
               z.account, z.service, z.zone_id, c.image_id, c.image_name,
               c.changed_fields, c.before, c.after, c.run_id,
               c.kind = 'appeared' and c.run_id is not distinct from z.first_run_id as first_look,
               case c.kind when 'removed' then 'breaking'
                    else syncer_store.severity(c.changed_fields) end as severity,
               array_to_string(c.changed_fields, ', ') as changed_fields_text,
               c.image_type, c.image_size,
               syncer_store.shown_gib(c.image_size) as image_size_gib,
               c.image_description, c.image_version, c.image_status, c.category, c.os_type,
               {further}
        from (
            select v.zone_key, v.image_id, v.image_name, v.opened_run_id as run_id,
                   v.opened_ordinal as ordinal, v.valid_from as changed_at,
                   v.opened_not_before as not_before, v.opened_kind::text as kind,
                   coalesce(v.changed_fields, '{{}}') as changed_fields,
                   case when v.opened_kind <> 'appeared' then (
                       select {state("p")}
                       from syncer_store.image_history as p
                       where p.zone_key = v.zone_key and p.image_id = v.image_id
                         and p.valid_from < v.valid_from
                       order by p.valid_from desc limit 1) end as before,
                   {state("v")} as after, {rest}, v.added
            from (
                select {version} from syncer_store.images
                union all
                select {version} from syncer_store.image_history
            ) as v
            union all
            select v.zone_key, v.image_id, v.image_name, v.removed_run_id, v.removed_ordinal,
                   v.removed_at, v.removed_not_before, 'removed', '{{}}',
                   {state("v")}, null, {rest}, v.added
            from (
                select {removal}, removed_at from syncer_store.images
                union all
                select {removal}, valid_to from syncer_store.image_history
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


def field_changes() -> None:
    op.execute("""
        create or replace view syncer.image_field_changes as
        select c.change_id, c.changed_at, c.account, c.service, c.zone_id, c.image_id,
               c.image_name, f.field, c.before ->> f.field as old_value,
               c.after ->> f.field as new_value, c.run_id,
               syncer_store.severity(array[f.field]) as severity, c.kind, c.not_before
        from syncer.image_changes as c
        cross join lateral unnest(c.changed_fields) as f (field)""")


def baseline_images() -> None:
    op.execute(f"""
        create or replace view syncer.baseline_images as
        select b.name, z.account, z.service, z.zone_id, i.image_id, {listed("i")},
               {SHOWN.format("i.")}, b.name as baseline
        from syncer_store.baselines as b
        join syncer_store.baseline_images as i using (baseline_id)
        join syncer_store.zones as z using (zone_key)""")


def spread_zones() -> None:
    op.execute("""
        create view syncer.image_spread_zones as
        select s.account, s.service, s.image_name, o.zone_id, true as offered, o.image_id,
               o.image_version, o.image_size, o.image_status, s.zone_count, s.missing_count
        from syncer.image_spread as s
        cross join lateral jsonb_to_recordset(s.offers) as o (
            zone_id text, image_id text, image_version text, image_size text, image_status text)
        union all
        select s.account, s.service, s.image_name, m.zone_id, false, null, null, null, null,
               s.zone_count, s.missing_count
        from syncer.image_spread as s
        cross join lateral unnest(s.missing_zones) as m (zone_id)""")


def coverage() -> None:
    # As in 0010, but of the zones that are asked for. The newest stamp of an account, for which all
    # its zones are read, is asked for only where the instant is later than the clock; and after one
    # that is yet to come no look is sought, for which all scans were read.
    op.execute(f"""
        create function syncer.zone_coverage(at timestamptz, {OF_ZONES}) returns table (
            account text, service text, zone_id text, last_complete_at timestamptz,
            next_complete_at timestamptz, coverage text, gone boolean,
            last_complete_run_id bigint, last_complete_finished_at timestamptz,
            next_complete_finished_at timestamptz)
        language sql stable security definer set search_path = '' rows 100
        begin atomic
            select z.account, z.service, z.zone_id,
                   coalesce(inside.observed_at, whole.observed_at),
                   coalesce(beyond.observed_at, later.observed_at),
                   case when look.status <> 'gone' then 'known' else 'unknown' end,
                   case when (k.kept_from is null or at >= k.kept_from) and t.come
                       then coalesce(look.status = 'gone', false) end,
                   coalesce(inside.run_id, whole.run_id),
                   coalesce(inside.finished_at, whole.finished_at),
                   coalesce(beyond.finished_at, later.finished_at)
            from syncer_store.zones as z
                left join syncer_store.retention as k on k.zone_key = z.zone_key
                left join lateral (
                    select case when at <= clock_timestamp() then true
                                else at <= syncer_store.newest_stamp(z.account) end as come
                ) as t on true
                left join lateral (
                    select r.run_id from syncer_store.runs as r
                    where r.account = z.account and r.started_at <= at and t.come
                      and (k.kept_from is null or at >= k.kept_from)
                    order by r.started_at desc limit 1) as b on true
                left join lateral (
                    select case when r.zone_key is null then s.status else 'gone' end as status
                    from (
                        select s.status from syncer_store.zone_scans as s
                        where s.zone_key = z.zone_key and s.run_id <= b.run_id
                          and s.finished_at <= at
                          and s.status in ('unchanged', 'changed', 'guarded', 'gone')
                        order by s.run_id desc limit 1) as s
                    left join syncer_store.retirements as r
                        on r.zone_key = z.zone_key and r.retired_at <= at
                       and (r.ended_at > at or r.ended_at is null)
                    limit 1) as look on true
                left join lateral (
                    select s.observed_at, s.finished_at, s.run_id
                    from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id <= b.run_id and s.finished_at <= at
                      and s.status in ('unchanged', 'changed', 'guarded')
                    order by s.run_id desc limit 1) as whole on true
                left join lateral (
                    select u.observed_at, u.finished_at, u.run_id
                    from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed, t.finished)
                             as u (run_id, observed_at, finished_at)
                    where t.zone_key = z.zone_key and t.run_id = whole.run_id
                      and u.run_id <= b.run_id and u.finished_at <= at
                    order by u.run_id desc limit 1) as inside on true
                left join lateral (
                    select u.observed_at, u.finished_at
                    from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed, t.finished)
                             as u (run_id, observed_at, finished_at)
                    where t.zone_key = z.zone_key and t.run_id = whole.run_id
                      and u.run_id >= b.run_id and u.finished_at > at
                    order by u.run_id limit 1) as beyond on true
                left join lateral (
                    select s.observed_at, s.finished_at from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id >= coalesce(b.run_id, 0) and t.come
                      and (k.kept_from is null or at >= k.kept_from)
                      and s.finished_at > at
                      and s.status in ('unchanged', 'changed', 'guarded')
                    order by s.run_id limit 1) as later on true
            where (of_account is null or z.account = of_account)
              and (of_service is null or z.service = of_service)
              and (of_zone_id is null or z.zone_id = of_zone_id);
        end""")
    op.execute("""
        create or replace function syncer.zone_coverage(at timestamptz) returns table (
            account text, service text, zone_id text, last_complete_at timestamptz,
            next_complete_at timestamptz, coverage text, gone boolean,
            last_complete_run_id bigint, last_complete_finished_at timestamptz,
            next_complete_finished_at timestamptz)
        language sql stable rows 100
        begin atomic
            select * from syncer.zone_coverage(at, null, null, null);
        end""")


def asof() -> None:
    # As in 0016. The filters are there twice: where they are constants, the versions of other zones
    # are not read.
    columns = """
            account text, service text, zone_id text, image_id text, image_name text,
            image_type text, image_size text, image_description text, image_version text,
            image_status text, category text, os_type text, valid_from timestamptz,
            observed_at timestamptz, nic_network_type text, image_source text,
            min_disk_size text, added jsonb"""
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
                   v.nic_network_type, v.image_source, v.min_disk_size, v.added
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


def changed_fields() -> None:
    # As in core/normalise.py and core/added.py: sizes differ where their numbers do, and a column
    # that either side does not know does not.
    cases = ",\n                ".join(
        f"case when {differ(name)} then '{name}' end" for name in (*TRACKED.split(", "), *LATER)
    )
    op.execute(f"""
        create function syncer_store.changed_fields(before jsonb, after jsonb) returns text[]
        language sql immutable parallel safe
        return array_remove(array[
                {cases}], null)""")


def differ(name: str) -> str:
    # Null, and so no difference, where either side has no such key.
    if name != "image_size":
        return f"before -> '{name}' <> after -> '{name}'"
    plain = "syncer_store.plain_size({} ->> 'image_size')"
    return f"{plain.format('before')} is distinct from {plain.format('after')}"


def changes_between() -> None:
    # A version that covers both instants is no difference. Those that ended and those that began
    # are put together by their key, so that a filter by it reaches the indexes of both.
    ended = side(
        begun="false",
        at="v.valid_to",
        when='v.valid_to > "from" and v.valid_to <= "to" and v.valid_from <= "from"',
    )
    begun = side(
        begun="true",
        at="v.valid_from",
        when="""v.valid_from > "from" and v.valid_from <= "to"
                  and (v.valid_to is null or v.valid_to > "to")""",
    )
    op.execute(f"""
        create function syncer.changes_between(
            "from" timestamptz, "to" timestamptz, of_account text default null,
            of_service text default null, of_zone_id text default null
        ) returns table (
            kind text, account text, service text, zone_id text, image_id text, image_name text,
            changed_fields text[], before jsonb, after jsonb, changed_at timestamptz, reason text,
            severity text, changed_fields_text text)
        language sql stable rows 1000
        begin atomic
            with zone as materialized (
                select account, service, zone_id, a.gone or b.gone as gone,
                       a.coverage = 'known' as known_before, b.coverage = 'known' as known_after,
                       case when a.gone and b.gone then null
                            when b.gone is null and "to" > now()
                                then 'the later instant has not come yet'
                            when b.gone is null
                                then 'what was known at the later instant is no longer kept'
                            when a.gone is null
                                then 'what was known at the earlier instant is no longer kept'
                            when b.gone then 'the zone was gone at the later instant'
                            when a.gone then 'the zone was gone at the earlier instant'
                            when b.coverage = 'unknown' then 'the zone was not read whole by then'
                            when a.coverage = 'unknown'
                                then 'the zone was not read whole by the earlier instant'
                       end as reason
                from syncer.zone_coverage("from", of_account, of_service, of_zone_id) as a
                join syncer.zone_coverage("to", of_account, of_service, of_zone_id) as b
                    using (account, service, zone_id)
                where (account, service, zone_id) in (
                    select z.account, z.service, z.zone_id from syncer.zones as z
                    where z.first_seen_at <= "to")
            ), missing as materialized (
                select account, service, zone_id, image_id,
                       bool_or(gap_from <= "from" and coalesce(gap_to > "from", true)) as before,
                       bool_or(gap_from <= "to" and coalesce(gap_to > "to", true)) as after
                from syncer.image_gaps
                where (gap_from <= "from" and coalesce(gap_to > "from", true))
                   or (gap_from <= "to" and coalesce(gap_to > "to", true))
                group by account, service, zone_id, image_id
            ), differences as (
                select d.*, f.fields,
                       case when d.before is null then 'appeared'
                            when d.after is null then 'removed' else 'changed' end as kind
                from (
                    select account, service, zone_id, image_id,
                           coalesce(max(image_name) filter (where begun),
                                    max(image_name) filter (where not begun)) as image_name,
                           (array_agg(document) filter (where not begun))[1] as before,
                           (array_agg(document) filter (where begun))[1] as after,
                           coalesce(max(changed_at) filter (where begun),
                                    max(changed_at)) as changed_at
                    from ({ended}
                    union all {begun}
                    ) as sides
                    group by account, service, zone_id, image_id
                ) as d
                cross join lateral ( -- once a row
                    select syncer_store.changed_fields(d.before, d.after) as fields offset 0) as f
            )
            select d.kind, d.account, d.service, d.zone_id, d.image_id, d.image_name,
                   case when d.kind = 'changed' then d.fields else '{{}}' end, d.before, d.after,
                   d.changed_at, null::text,
                   case d.kind when 'removed' then 'breaking'
                               when 'changed' then syncer_store.severity(d.fields) end,
                   array_to_string(case when d.kind = 'changed' then d.fields end, ', ')
            from differences as d
            join zone as z using (account, service, zone_id)
            where not z.gone
              and (account, service, zone_id, image_id) not in (
                  select m.account, m.service, m.zone_id, m.image_id from missing as m)
              and (d.before is not null or z.known_before)
              and (d.after is not null or z.known_after)
              and (d.kind <> 'changed' or d.fields <> '{{}}')
            union all
            select 'unknown', m.account, m.service, m.zone_id, m.image_id, i.image_name, '{{}}',
                   null, null, null, case when m.before
                       then 'it was not listed at the earlier instant, and not confirmed absent'
                       else 'it was not listed at the later instant, and not confirmed absent' end,
                   null, null
            from missing as m
            join zone as z using (account, service, zone_id)
            join syncer.images as i using (account, service, zone_id, image_id)
            where m.before <> m.after and z.reason is null and not z.gone
            union all
            select 'unknown', z.account, z.service, z.zone_id, null, null, '{{}}', null, null, null,
                   z.reason, null, null
            from zone as z
            where z.reason is not null;
        end""")


def side(*, begun: str, at: str, when: str) -> str:
    return f"""
                select v.account, v.service, v.zone_id, v.image_id, v.image_name,
                       {begun} as begun, {at} as changed_at, {state("v")} as document
                from syncer.image_versions as v
                where {when}
                  and (of_account is null or v.account = of_account)
                  and (of_service is null or v.service = of_service)
                  and (of_zone_id is null or v.zone_id = of_zone_id)"""


def pin_status() -> None:
    # A row for each image that is meant, or one that says why there is none: as syncer check.
    op.execute("""
        create function syncer.pin_status(
            of_zone_id text, of_image_id text, of_account text default null,
            of_service text default null
        ) returns table (
            account text, service text, zone_id text, image_id text, image_name text, status text,
            since timestamptz, reason text, observed_at timestamptz, last_complete_at timestamptz,
            withheld_since timestamptz, replacement_id text, replacement_name text,
            replacement_rule text, replacements integer)
        language sql stable rows 1
        begin atomic
            select i.account, i.service, i.zone_id, i.image_id, i.image_name,
                   case i.presence when 'absent' then 'removed' else i.presence end,
                   case when z.gone_at is not null then z.gone_at
                        else coalesce(i.removed_at, i.unlisted_since, i.changed_at) end,
                   case when z.gone_at is not null then 'the zone is gone'
                        when i.presence = 'absent' then 'confirmed absent'
                        when i.withheld_since is not null
                            then 'not listed, not confirmed absent; its removal is withheld'
                        when i.presence = 'unknown' then 'not listed, not confirmed absent' end,
                   i.observed_at, z.last_complete_at, i.withheld_since, r.replacement_id,
                   r.replacement_name, r.rule, r.replacements
            from syncer.images as i
            join syncer.zones as z using (account, service, zone_id)
            left join lateral (
                select r.replacement_id, r.replacement_name, r.rule,
                       (count(*) over ())::integer as replacements
                from syncer.image_replacements as r
                where (r.account, r.service, r.zone_id, r.image_id)
                    = (i.account, i.service, i.zone_id, i.image_id)
                order by r.candidate
                limit 1
            ) as r on i.presence <> 'present'
            where i.zone_id = of_zone_id and i.image_id = of_image_id
              and (of_account is null or i.account = of_account)
              and (of_service is null or i.service = of_service)
            union all
            select case when n.zones = 1 then n.account else of_account end,
                   case when n.zones = 1 then n.service else of_service end,
                   of_zone_id, of_image_id, null, 'unknown', null,
                   case when n.zones = 0 then 'no such zone is known'
                        when n.gone then 'never seen, but the zone is gone'
                        when n.unread then 'never seen, but the zone was never read whole'
                        else 'never seen in this zone; is the id right?' end,
                   null, case when not n.unread then n.last_complete_at end, null, null, null, null,
                   null
            from (
                select count(*) as zones, min(z.account) as account, min(z.service) as service,
                       min(z.last_complete_at) as last_complete_at,
                       coalesce(bool_or(z.gone_at is not null), false) as gone,
                       coalesce(bool_or(z.last_complete_at is null), true) as unread
                from syncer.zones as z
                where z.zone_id = of_zone_id
                  and (of_account is null or z.account = of_account)
                  and (of_service is null or z.service = of_service)
            ) as n
            where not exists (
                select from syncer.images as i
                where i.zone_id = of_zone_id and i.image_id = of_image_id
                  and (of_account is null or i.account = of_account)
                  and (of_service is null or i.service = of_service));
        end""")


def state(alias: str) -> str:
    return f"syncer_store.tracked_json({listed(alias)}) || coalesce({alias}.added, '{{}}')"


def listed(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
