"""When images were missing before 0010: also where that had ended, and by looks that were thinned.

0010 kept what was missing when it came. Of what had been missing, and was removed or seen again
changed, it forgot that: as-of answers called it present, by looks that had not listed it.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WHOLE = "('unchanged', 'changed', 'guarded')"

# For each zone and instant in (missed): the first whole look that did not list what was seen last
# then. It is the one after the look that was then. Either may have been thinned; was that look
# pruned, all that is kept came after it.
FIRST = f"""
        , listed as materialized (
            select m.zone_key, m.last_listed_at, max(s.run_id) as run_id
            from (select distinct zone_key, last_listed_at from missed) as m
            left join syncer_store.zone_scans as s
                on s.zone_key = m.zone_key and s.observed_at = m.last_listed_at
            group by m.zone_key, m.last_listed_at
        ), placed as materialized (
            select l.zone_key, l.last_listed_at, coalesce(
                l.run_id,
                (select max(u.run_id) from syncer_store.stretches as t,
                     unnest(t.run_ids, t.observed) as u (run_id, observed_at)
                 where t.zone_key = l.zone_key and u.observed_at = l.last_listed_at),
                (select 0 from syncer_store.retention as k
                 where k.zone_key = l.zone_key and l.last_listed_at < k.kept_from)) as run_id
            from listed as l
        ), first as materialized (
            select l.zone_key, l.last_listed_at, look.run_id, look.finished_at
            from placed as l
            cross join lateral (
                select s.run_id, s.finished_at from syncer_store.zone_scans as s
                where s.zone_key = l.zone_key and s.run_id > l.run_id and s.status in {WHOLE}
                order by s.run_id limit 1
            ) as kept
            cross join lateral (
                select run_id, finished_at
                from (
                    select kept.run_id, kept.finished_at
                    union all
                    select u.run_id, u.finished_at
                    from (
                        select t.run_ids, t.finished from syncer_store.stretches as t
                        where t.zone_key = l.zone_key and t.run_id < kept.run_id
                        order by t.run_id desc limit 1
                    ) as t, unnest(t.run_ids, t.finished) as u (run_id, finished_at)
                    where u.run_id > l.run_id
                ) as looks
                order by run_id limit 1
            ) as look
        )"""


def upgrade() -> None:
    looks_at_zones_that_went()
    what_ended()
    what_is_missing()


def looks_at_zones_that_went() -> None:
    # As 0010 did of looks in part: also a look that read a zone which went before the look's end.
    # They are few: one after the other.
    op.execute("""
        do $$ declare
            look record;
        begin
            for look in
                select s.zone_key, s.run_id, s.observed_at
                from syncer_store.zone_scans as s
                join syncer_store.runs as r on r.run_id = s.run_id and r.clock_at is null
                where s.status = 'gone' and (s.appeared, s.changed, s.returned) <> (0, 0, 0)
            loop
                update syncer_store.images as v
                set removed_not_before = look.observed_at
                where v.zone_key = look.zone_key and v.opened_run_id = look.run_id
                  and v.removed_run_id is not null and look.observed_at < v.removed_at
                  and (v.removed_not_before < look.observed_at or v.removed_not_before is null);
                update syncer_store.image_history as v
                set removed_not_before = look.observed_at
                where v.zone_key = look.zone_key and v.opened_run_id = look.run_id
                  and v.removed_run_id is not null and look.observed_at < v.valid_to
                  and (v.removed_not_before < look.observed_at or v.removed_not_before is null);
                update syncer_store.images as v
                set opened_not_before = look.observed_at
                from syncer_store.image_history as p
                where p.zone_key = look.zone_key and p.opened_run_id = look.run_id
                  and v.zone_key = p.zone_key and v.image_id = p.image_id
                  and v.valid_from = p.valid_to and v.opened_kind = 'changed'
                  and look.observed_at < v.valid_from
                  and (v.opened_not_before < look.observed_at or v.opened_not_before is null);
                update syncer_store.image_history as v
                set opened_not_before = look.observed_at
                from syncer_store.image_history as p
                where p.zone_key = look.zone_key and p.opened_run_id = look.run_id
                  and v.zone_key = p.zone_key and v.image_id = p.image_id
                  and v.valid_from = p.valid_to and v.opened_kind = 'changed'
                  and look.observed_at < v.valid_from
                  and (v.opened_not_before < look.observed_at or v.opened_not_before is null);
                update syncer_store.missing as m
                set last_listed_at = look.observed_at
                from syncer_store.images as i
                where i.zone_key = look.zone_key and i.opened_run_id = look.run_id
                  and m.zone_key = i.zone_key and m.image_id = i.image_id
                  and (m.last_listed_at < look.observed_at or m.last_listed_at is null);
            end loop;
        end $$""")


def what_ended() -> None:
    # With a million versions and two million scans: 4 s.
    # Only a run before 0009 (it has no clock_at), and only after a whole look that left something
    # missing: by the guard, or for want of an answer by id.
    op.execute(f"""
        with left_missing as materialized (
            select s.zone_key, s.run_id, next.run_id as upto
            from syncer_store.zone_scans as s
            cross join lateral (
                select n.run_id from syncer_store.zone_scans as n
                where n.zone_key = s.zone_key and n.run_id > s.run_id and n.status in {WHOLE}
                order by n.run_id limit 1) as next
            where s.status in {WHOLE} and (s.status = 'guarded' or s.error_code is not null)
        ), ending as materialized (
            select distinct s.zone_key, s.run_id
            from left_missing as l
            join syncer_store.zone_scans as s
                on s.zone_key = l.zone_key and s.run_id > l.run_id and s.run_id <= l.upto
            join syncer_store.runs as r on r.run_id = s.run_id and r.clock_at is null
            where (s.changed, s.removed) <> (0, 0)
        ), missed as materialized (
            select v.zone_key, v.image_id, 'removed' as ended_by, v.removed_run_id as run_id,
                   v.removed_at as ended_at, v.removed_not_before as last_listed_at
            from syncer_store.images as v
            join ending as e on e.zone_key = v.zone_key and e.run_id = v.removed_run_id
            union all
            select v.zone_key, v.image_id, 'removed', v.removed_run_id, v.valid_to,
                   v.removed_not_before
            from syncer_store.image_history as v
            join ending as e on e.zone_key = v.zone_key and e.run_id = v.removed_run_id
            union all
            select v.zone_key, v.image_id, 'seen', v.opened_run_id, v.valid_from,
                   v.opened_not_before
            from syncer_store.images as v
            join ending as e on e.zone_key = v.zone_key and e.run_id = v.opened_run_id
            where v.opened_kind = 'changed'
            union all
            select v.zone_key, v.image_id, 'seen', v.opened_run_id, v.valid_from,
                   v.opened_not_before
            from syncer_store.image_history as v
            join ending as e on e.zone_key = v.zone_key and e.run_id = v.opened_run_id
            where v.opened_kind = 'changed'
        ) {FIRST}
        insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
            ended_run_id, seen_at, last_listed_at)
        select m.zone_key, m.image_id, f.finished_at, m.ended_at, m.ended_by, m.run_id,
               case when m.ended_by = 'seen' then s.observed_at end, m.last_listed_at
        from missed as m
        join first as f on f.zone_key = m.zone_key and f.last_listed_at = m.last_listed_at
        join syncer_store.zone_scans as s on s.zone_key = m.zone_key and s.run_id = m.run_id
        where f.run_id < m.run_id and f.finished_at < m.ended_at
          and not exists (
              select from syncer_store.image_gaps as g
              where g.zone_key = m.zone_key and g.image_id = m.image_id
                and g.gap_from < m.ended_at and g.gap_to > f.finished_at)""")


def what_is_missing() -> None:
    # 0010 looked for the look that listed it last among those that were not thinned.
    op.execute(f"""
        with missed as materialized (
            select m.zone_key, m.last_listed_at
            from syncer_store.missing as m
            join syncer_store.runs as r on r.run_id = m.since_run_id and r.clock_at is null
        ) {FIRST}
        update syncer_store.missing as m
        set missing_since = f.finished_at, since_run_id = f.run_id
        from first as f, syncer_store.runs as r
        where f.zone_key = m.zone_key and f.last_listed_at = m.last_listed_at
          and m.since_run_id <> f.run_id
          and r.run_id = m.since_run_id and r.clock_at is null""")
