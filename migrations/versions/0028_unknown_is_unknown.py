"""Answers that took the unknown for known; functions with their owner's rights name their path.

Revision ID: 0028
Revises: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)
OF_ZONES = "of_account text, of_service text default null, of_zone_id text default null"
DEFINERS = (
    "syncer.zone_coverage(timestamptz, text, text, text)",
    "syncer.image_presence(text, text, text, text, timestamptz)",
    "syncer_store.at_work(text)",
    "syncer_store.running_pid(text, bigint)",
)


def upgrade() -> None:
    definers()
    changes_between()
    pin_status()
    image_counts()
    image_gaps()
    image_spread()
    account_spread()


def definers() -> None:
    # Where a path does not name pg_temp, types are looked for there first: what a caller makes in a
    # session could come before the real one, and run with the rights of the owner.
    for function in DEFINERS:
        op.execute(f"alter function {function} set search_path = pg_catalog, pg_temp")


def changes_between() -> None:
    # As in 0024, but two instants that are none, or in the wrong order, are no answer: nobody reads
    # of them that nothing differs.
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
        create or replace function syncer.changes_between(
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
                       case when "from" is null then 'no earlier instant was given'
                            when "to" is null then 'no later instant was given'
                            when "from" > "to"
                                then 'the earlier instant is after the later one'
                            when a.gone and b.gone then null
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
                    where z.first_seen_at <= greatest("from", "to")
                       or "from" is null or "to" is null)
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
    # As in 0024, but a zone that one account lost is not gone where another still has it.
    op.execute("""
        create or replace function syncer.pin_status(
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
                       coalesce(bool_and(z.gone_at is not null), false) as gone,
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


def image_counts() -> None:
    # As in 0025, but of the zones that are asked for: what another account has is not counted.
    op.execute(f"""
        create function syncer.image_counts(
            "from" timestamptz, "to" timestamptz, step interval, {OF_ZONES}
        ) returns table (
            at timestamptz, account text, service text, zone_id text, images bigint)
        language sql stable rows 1000
        begin atomic
            with instants as materialized (
                select array_agg(t order by t) as all_of_them
                from generate_series("from", "to", step) as t
            ), spans as (
                select v.account, v.service, v.zone_id,
                       case when v.kind <> 'changed' or v.valid_from <= b.at
                            then v.valid_from end as since,
                       case when v.closed_kind = 'removed' then v.valid_to end as until,
                       1 as one
                from syncer.image_versions as v
                join (
                    select z.account, z.service, z.zone_id, greatest("from", z.kept_from) as at
                    from syncer.zones as z
                    where {asked("z")}
                ) as b using (account, service, zone_id)
                where v.valid_from <= "to" and (v.valid_to > "from" or v.valid_to is null)
                  and (v.valid_to > b.at or v.valid_to is null)
                  and (v.kind <> 'changed' or v.valid_from <= b.at or v.closed_kind = 'removed')
                  and {asked("v")}
                union all
                select g.account, g.service, g.zone_id, g.gap_from, g.gap_to, -1
                from syncer.image_gaps as g
                where g.gap_from <= "to" and (g.gap_to > "from" or g.gap_to is null)
                  and {asked("g")}
            ), steps as (
                select s.account, s.service, s.zone_id, e.place, sum(e.one) as more
                from spans as s
                cross join instants as i
                cross join lateral (values
                    (width_bucket(s.since - interval '1 microsecond', i.all_of_them), s.one),
                    (width_bucket(s.until - interval '1 microsecond', i.all_of_them), -s.one)
                ) as e (place, one)
                where e.place < cardinality(i.all_of_them)
                group by s.account, s.service, s.zone_id, e.place
            )
            select t.at, c.account, c.service, c.zone_id,
                   case when c.coverage = 'known' then
                       coalesce(sum(s.more) over (
                           partition by c.account, c.service, c.zone_id order by t.at), 0)::bigint
                   end
            from instants as i
            cross join unnest(i.all_of_them) with ordinality as t (at, place)
            cross join syncer.zone_coverage(t.at, of_account, of_service, of_zone_id) as c
            left join steps as s on s.account = c.account and s.service = c.service
                and s.zone_id = c.zone_id and s.place = t.place - 1;
        end""")
    op.execute("""
        create or replace function syncer.image_counts(
            "from" timestamptz, "to" timestamptz, step interval
        ) returns table (
            at timestamptz, account text, service text, zone_id text, images bigint)
        language sql stable rows 1000
        begin atomic
            select * from syncer.image_counts("from", "to", step, null, null, null);
        end""")
    op.execute("""
        comment on function syncer.image_counts(
            timestamptz, timestamptz, interval, text, text, text) is
        'How many images each zone of an account (null: of all), of a service and with an id if'
        ' they are given, had at each instant from one to another; null where that was unknown'""")


def asked(alias: str) -> str:
    return " and ".join(
        f"(of_{name} is null or {alias}.{name} = of_{name})"
        for name in ("account", "service", "zone_id")
    )


def image_gaps() -> None:
    op.execute("""
        create or replace view syncer.image_gaps as
        select z.account, z.service, z.zone_id, g.image_id, g.gap_from, g.gap_to, g.ended_by,
               g.rule, g.withheld_since, g.last_listed_at, g.seen_at, g.namesake_id,
               g.approval_id
        from (
            select zone_key, image_id, gap_from, gap_to, ended_by, rule, withheld_since,
                   last_listed_at, seen_at, namesake_id, approval_id
            from syncer_store.image_gaps
            union all
            select zone_key, image_id, missing_since, null, null, rule, withheld_since,
                   last_listed_at, null, namesake_id, approval_id
            from syncer_store.missing
        ) as g
        join syncer_store.zones as z using (zone_key)""")
    op.execute("""
        comment on column syncer.image_gaps.approval_id is
        'The approval that let its removal through (null: none), as numbered in approvals'""")


def image_spread() -> None:
    # As in 0007, but an image that the last whole look did not list, and that is not confirmed
    # absent, is unknown: its zone neither offers the name by it nor lacks it.
    op.execute(f"""
        create or replace view syncer.image_spread as
        select c.account, c.service, c.image_name collate "default" as image_name, c.differs,
               array(select distinct z.zone_id from unnest(c.zone_ids) as z (zone_id)
                     order by z.zone_id) as zones,
               array(select z.zone_id from unnest(c.whole_zones) as z (zone_id)
                     where z.zone_id <> all (c.zone_ids || coalesce(c.unsure_zones, '{{}}'))
                     order by z.zone_id) as missing_zones,
               array(select distinct v.version from unnest(c.versions) as v (version)
                     order by v.version) as image_versions,
               array(select distinct syncer_store.plain_size(s.size) as plain
                     from (select distinct unnest(c.sizes)) as s (size) order by plain)
                   as image_sizes,
               array(select distinct s.status from unnest(c.statuses) as s (status)
                     order by s.status) as image_statuses,
               array(select distinct i.id from unnest(c.ids) as i (id) order by i.id)
                   as image_ids,
               (select jsonb_agg(jsonb_build_object(
                           'zone_id', o.zone_id, 'image_id', o.id, 'image_version', o.version,
                           'image_size', o.size, 'image_status', o.status)
                           order by o.zone_id, o.id)
                from unnest(c.zone_ids, c.ids, c.versions, c.sizes, c.statuses)
                    as o (zone_id, id, version, size, status)) as offers,
               bit_count(c.marks)::integer as zone_count,
               bit_count(c.whole_marks & ~c.known)::integer as missing_count
        from (
            select k.account, k.service, k.whole_zones, k.marks as whole_marks, n.*, d.differs,
                   u.unsure_zones, m.known
            from (
                select z.kind, i.image_name collate "C" as image_name, bit_or(z.mark) as marks,
                       array_agg(z.zone_id) as zone_ids, array_agg(i.image_id) as ids,
                       array_agg(i.image_version) as versions, array_agg(i.image_size) as sizes,
                       array_agg(i.image_status) as statuses
                from syncer_store.images as i
                join syncer_store.comparable_zones as z using (zone_key)
                where i.removed_at is null and i.image_name is not null
                  and not exists (
                      select from syncer_store.missing as m
                      where m.zone_key = i.zone_key and m.image_id = i.image_id)
                group by z.kind, i.image_name collate "C"
            ) as n
            join (
                select kind, account, service,
                       array_agg(zone_id) filter (where whole) as whole_zones,
                       bit_or(case when whole then mark else mark & ~mark end) as marks
                from syncer_store.comparable_zones
                group by kind, account, service
            ) as k using (kind)
            left join (
                select z.kind, i.image_name collate "C" as image_name, bit_or(z.mark) as marks,
                       array_agg(z.zone_id) as unsure_zones
                from syncer_store.missing as m
                join syncer_store.images as i using (zone_key, image_id)
                join syncer_store.comparable_zones as z using (zone_key)
                where i.image_name is not null
                group by z.kind, i.image_name collate "C"
            ) as u using (kind, image_name)
            cross join lateral (
                select case when u.marks is null then n.marks else n.marks | u.marks end as known
            ) as m
            cross join lateral (
                select array_remove(array[
                    case when m.known & k.marks <> k.marks then 'zones' end,
                    case when {differ("versions")} then 'image_version' end,
                    case when {differ("sizes", "syncer_store.plain_size(t.one)")}
                        then 'image_size' end,
                    case when {differ("statuses")} then 'image_status' end], null) as differs
                offset 0 -- or it would be worked out twice, here and in the condition below
            ) as d
            where m.known & k.marks <> k.marks
               or not syncer_store.all_equal(n.versions)
               or not syncer_store.all_equal(n.sizes)
               or not syncer_store.all_equal(n.statuses)
        ) as c
        where c.differs <> '{{}}'""")
    for column, meaning in (
        (
            "missing_zones",
            "The zones that were read whole and do not offer it; not those where it is unknown",
        ),
        (
            "missing_count",
            "How many zones do not offer the name, as far as they were read whole and it is known",
        ),
    ):
        op.execute(f"comment on column syncer.image_spread.{column} is '{meaning}'")


def differ(column: str, one: str = "t.one") -> str:
    """Whether zones differ in a column: in its values, or where a zone has several in their sets.

    ``one`` makes of a value what is compared.
    """
    unequal = f"not syncer_store.all_equal(n.{column})"
    if one != "t.one":  # texts that differ may yet come to the same
        unequal += f""" and cardinality(array(
                            select distinct {one}
                            from (select distinct unnest(n.{column})) as t (one))) > 1"""
    return f"""{unequal} and (
                            cardinality(n.zone_ids) = bit_count(n.marks) or (
                                select count(distinct s.ones) > 1
                                from (select array_agg(distinct {one}) as ones
                                      from unnest(n.zone_ids, n.{column}) as t (zone_id, one)
                                      group by t.zone_id) as s))"""


def account_spread() -> None:
    # As in 0023, but an account that has the name only where it is unknown does not lack it.
    op.execute("""
        create or replace view syncer.account_spread as
        with whole as (
            select service, array_agg(distinct account order by account) as accounts
            from syncer.zones
            where last_complete_at is not null and gone_at is null
            group by service
        ), named as materialized (
            select service, account, image_name, image_version, image_status, presence,
                   syncer_store.plain_size(image_size) as image_size
            from syncer.images
            where presence in ('present', 'unknown') and image_name is not null
        ), offered as (
            select * from named where presence = 'present'
        ), unsure as (
            select service, image_name, array_agg(distinct account) as accounts
            from named
            where presence = 'unknown'
            group by service, image_name
        ), by_account as (
            select service, account, image_name,
                   array_agg(distinct image_version) as versions,
                   array_agg(distinct image_size) as sizes,
                   array_agg(distinct image_status) as statuses
            from offered
            group by service, account, image_name
        ), compared as (
            select service, image_name,
                   count(distinct versions) > 1 as other_versions,
                   count(distinct sizes) > 1 as other_sizes,
                   count(distinct statuses) > 1 as other_statuses
            from by_account
            group by service, image_name
        ), together as (
            select service, image_name,
                   array_agg(distinct account order by account) as accounts,
                   array_agg(distinct image_version order by image_version) as image_versions,
                   array_agg(distinct image_size order by image_size) as image_sizes,
                   array_agg(distinct image_status order by image_status) as image_statuses
            from offered
            group by service, image_name
        )
        select t.service, t.image_name,
               array_remove(array[
                   case when m.missing <> '{}' then 'accounts' end,
                   case when c.other_versions then 'image_version' end,
                   case when c.other_sizes then 'image_size' end,
                   case when c.other_statuses then 'image_status' end], null) as differs,
               t.accounts, m.missing as missing_accounts,
               t.image_versions, t.image_sizes, t.image_statuses,
               cardinality(t.accounts) as account_count, cardinality(m.missing) as missing_count
        from together as t
        join compared as c using (service, image_name)
        join whole as w using (service)
        left join unsure as u using (service, image_name)
        cross join lateral (
            select array(select a from unnest(w.accounts) as a
                         where a <> all (t.accounts || coalesce(u.accounts, '{}'))
                         order by a) as missing) as m
        where m.missing <> '{}' or c.other_versions or c.other_sizes or c.other_statuses""")
    op.execute("""
        comment on column syncer.account_spread.missing_accounts is
        'The accounts that have none, though a zone of each was read whole; one where it is unknown'
        ' is in neither'""")


def state(alias: str) -> str:
    return f"syncer_store.tracked_json({listed(alias)}) || coalesce({alias}.added, '{{}}')"


def listed(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
