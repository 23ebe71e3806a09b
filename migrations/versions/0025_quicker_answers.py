"""Answers that took seconds on a year: spells, outages, counts, and scans by time.

Revision ID: 0025
Revises: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

WHOLE = "('unchanged', 'changed', 'guarded')"
NOT_READ = "('incomplete', 'failed', 'gone')"
# A row that stands for several scans (prune) is taken apart again.
STRETCHED = """
                    syncer_store.stretches as t
                    cross join unnest(t.run_ids, t.finished) as u (run_id, at)
                    where t.zone_key = z.zone_key and t.run_id < s.to_run
                      and t.run_ids[cardinality(t.run_ids)] >= s.from_run
                      and u.run_id >= s.from_run and u.run_id < s.to_run"""
STRETCHES_OF_RETIRED = """
                                    syncer_store.stretches as t
                                    join syncer_store.zone_scans as c using (zone_key, run_id)
                                    cross join unnest(t.run_ids, t.finished) as u (run_id, at)"""


def upgrade() -> None:
    indexes()
    zone_spells()
    image_outages()
    image_counts()
    image_presence()
    op.execute("""
        comment on column syncer.zone_spells.longest_wait is
            'The longest time without a scan in it: how old what was known became'""")


def indexes() -> None:
    # Two million scans: 0.3 s each. What is written pays for the first only where a zone was not
    # read whole; the second is a page for a million of them.
    op.execute(f"""
        create index zone_scans_not_read on syncer_store.zone_scans (zone_key, run_id)
        where status in {NOT_READ}""")
    op.execute("""
        create index zone_scans_by_time on syncer_store.zone_scans
        using brin (started_at) with (pages_per_range = 16)""")


def zone_spells() -> None:
    # A spell begins at the first scan of a zone, at one that did not read it, at the one after
    # that, at a retirement, or at the first whole look after it. So only those few are read; all
    # scans only where it is asked how many there were, or how long was waited.
    op.execute(f"""
        create or replace view syncer.zone_spells as
        select z.account, z.service, z.zone_id, s.state, s.spell_from, s.spell_to,
               ((select count(*) from syncer_store.zone_scans as c
                 where c.zone_key = z.zone_key and c.run_id >= s.from_run and c.run_id < s.to_run)
                + (select count(*) from {STRETCHED}))::integer as scans,
               (select nullif(max(l.next_at - l.at), interval '0')
                from (
                    select l.at, lead(l.at, 1, s.spell_to) over (order by l.at) as next_at
                    from (
                        select s.spell_from
                        union all
                        select c.finished_at from syncer_store.zone_scans as c
                        where c.zone_key = z.zone_key
                          and c.run_id >= s.from_run and c.run_id < s.to_run
                        union all
                        select u.at from {STRETCHED}
                    ) as l (at)
                ) as l) as longest_wait,
               s.error_code, s.error_message
        from syncer_store.zones as z
        join (
            select zone_key, state, at as spell_from, error_code, error_message,
                   lead(at) over by_time as spell_to, run_id as from_run,
                   coalesce(lead(run_id) over by_time, 9223372036854775807) as to_run
            from (
                select *, lag(state) over by_time is distinct from state as begins
                from (
                    -- What is gone stays so until the next whole look.
                    select *, case when gone_at > coalesce(read_at, '-infinity')
                                   then 'gone' else outcome end as state
                    from (
                        select *, max(at) filter (where outcome = 'read') over running as read_at,
                               max(at) filter (where outcome = 'gone') over running as gone_at
                        from ({marks()}) as m
                        window running as (
                            partition by zone_key order by at, run_id rows unbounded preceding)
                    ) as looked_at
                ) as judged
                window by_time as (partition by zone_key order by at, run_id)
            ) as marked
            where begins
            window by_time as (partition by zone_key order by at, run_id)
        ) as s using (zone_key)""")


def marks() -> str:
    # A retirement has the number of the run after the last one that looked at the zone before it.
    columns = f"""
                            select s.zone_key, s.finished_at as at, s.run_id, s.error_code,
                                   s.error_message,
                                   case when s.status in {WHOLE} then 'read' else s.status end
                                       as outcome"""
    return f"""{columns}
                            from syncer_store.zone_scans as s
                            where s.status in {NOT_READ}
                            union all {columns}
                            from syncer_store.zone_scans as b
                            cross join lateral (
                                select * from syncer_store.zone_scans as n
                                where n.zone_key = b.zone_key and n.run_id > b.run_id
                                order by n.run_id limit 1) as s
                            where b.status in {NOT_READ} and s.status in {WHOLE}
                            union all {columns}
                            from syncer_store.zones as z
                            cross join lateral (
                                select * from syncer_store.zone_scans as n
                                where n.zone_key = z.zone_key
                                order by n.run_id limit 1) as s
                            where s.status in {WHOLE}
                            union all
                            select r.zone_key, r.retired_at, 1 + coalesce(greatest((
                                       select c.run_id from syncer_store.zone_scans as c
                                       where c.zone_key = r.zone_key
                                         and c.finished_at <= r.retired_at
                                       order by c.run_id desc limit 1), (
                                       select max(u.run_id) from {STRETCHES_OF_RETIRED}
                                       where t.zone_key = r.zone_key and u.at <= r.retired_at)), 0),
                                   null, 'retired by ' || r.retired_by, 'gone'
                            from syncer_store.retirements as r
                            union all
                            select r.zone_key, l.at, l.run_id, null, null, 'read'
                            from syncer_store.retirements as r
                            cross join lateral ((
                                select c.finished_at as at, c.run_id
                                from syncer_store.zone_scans as c
                                where c.zone_key = r.zone_key and c.finished_at > r.retired_at
                                  and c.status in {WHOLE}
                                order by c.run_id limit 1)
                                union all (
                                select u.at, u.run_id from {STRETCHES_OF_RETIRED}
                                where t.zone_key = r.zone_key and u.at > r.retired_at
                                  and c.status in {WHOLE}
                                order by u.run_id limit 1)
                                order by at limit 1) as l"""


def image_outages() -> None:
    # As in 0021. A status that changed is named by the version that it opened: the others are not
    # compared with what was before; and who asks for some days reads what ended or began in them.
    versions = """
                select zone_key, image_id, image_name, image_status, valid_from, opened_kind,
                       opened_not_before, changed_fields
                from syncer_store.{}
                where opened_kind = 'changed' and image_status is distinct from 'AVAILABLE'
                  and changed_fields @> '{{image_status}}'"""
    op.execute(f"""
        create or replace view syncer.image_outages as
        select z.account, z.service, z.zone_id, o.image_id, o.image_name, o.began_as,
               o.at as outage_from, again.at as outage_to, again.at - o.at as duration,
               o.not_before
        from syncer_store.zones as z
        join (
            select i.zone_key, i.image_id, i.image_name, 'removed' as began_as,
                   i.removed_at as at, i.removed_not_before as not_before
            from syncer_store.images as i
            where i.removed_run_id is not null and i.image_status = 'AVAILABLE'
            union all
            select h.zone_key, h.image_id, h.image_name, 'removed', h.valid_to,
                   h.removed_not_before
            from syncer_store.image_history as h
            where h.removed_run_id is not null and h.image_status = 'AVAILABLE'
            union all
            select v.zone_key, v.image_id, v.image_name, v.image_status, v.valid_from,
                   v.opened_not_before
            from ({versions.format("images")}
                union all {versions.format("image_history")}
            ) as v
            where 'AVAILABLE' = (
                  select p.image_status from syncer_store.image_history as p
                  where p.zone_key = v.zone_key and p.image_id = v.image_id
                    and p.valid_from < v.valid_from
                  order by p.valid_from desc limit 1)
        ) as o using (zone_key)
        cross join lateral (
            select least(
                (select i.valid_from from syncer_store.images as i
                 where i.zone_key = o.zone_key and i.image_id = o.image_id
                   and i.valid_from >= o.at and i.image_status = 'AVAILABLE'),
                (select h.valid_from from syncer_store.image_history as h
                 where h.zone_key = o.zone_key and h.image_id = o.image_id
                   and h.valid_from >= o.at and h.image_status = 'AVAILABLE'
                 order by h.valid_from limit 1)) as at
        ) as again""")


def image_counts() -> None:
    # As in 0022, but a version that only took the place of another changes no number: one counts
    # from its beginning on if it was there at the first instant of which anything is kept, or came
    # later, and until its end if it was removed then.
    op.execute("""
        create or replace function syncer.image_counts(
            "from" timestamptz, "to" timestamptz, step interval
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
                ) as b using (account, service, zone_id)
                where v.valid_from <= "to" and (v.valid_to > "from" or v.valid_to is null)
                  and (v.valid_to > b.at or v.valid_to is null)
                  and (v.kind <> 'changed' or v.valid_from <= b.at or v.closed_kind = 'removed')
                union all
                select g.account, g.service, g.zone_id, g.gap_from, g.gap_to, -1
                from syncer.image_gaps as g
                where g.gap_from <= "to" and (g.gap_to > "from" or g.gap_to is null)
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
            cross join syncer.zone_coverage(t.at) as c
            left join steps as s on s.account = c.account and s.service = c.service
                and s.zone_id = c.zone_id and s.place = t.place - 1;
        end""")


def image_presence() -> None:
    # As in 0010, but the newest stamp of the account is asked for only after the clock's time.
    op.execute("""
        create or replace function syncer.image_presence(
            account text, service text, zone_id text, image_id text, at timestamptz
        ) returns text language sql stable security definer set search_path = ''
        return coalesce((
            select case when not t.come or at < k.kept_from or look.status = 'gone' then 'unknown'
                        when exists (
                            select from syncer_store.missing as m
                            where m.zone_key = z.zone_key and m.image_id = $4
                              and m.missing_since <= at) then 'unknown'
                        when exists (
                            select from syncer_store.image_gaps as g
                            where g.zone_key = z.zone_key and g.image_id = $4
                              and g.gap_from <= at and g.gap_to > at) then 'unknown'
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
            where z.account = $1 and z.service = $2 and z.zone_id = $3), 'unknown')""")
