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

# The first whole look that did not list m.image_id: the one after the look that listed it last,
# which is found by when it was. Either may have been thinned. Was the last one pruned, all that is
# kept came after it.
FIRST = f"""
            cross join lateral (
                select coalesce(
                    (select max(s.run_id) from syncer_store.zone_scans as s
                     where s.zone_key = m.zone_key and s.observed_at = m.last_listed_at),
                    (select max(u.run_id) from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed) as u (run_id, observed_at)
                     where t.zone_key = m.zone_key and u.observed_at = m.last_listed_at),
                    (select 0 from syncer_store.retention as k
                     where k.zone_key = m.zone_key and m.last_listed_at < k.kept_from)) as run_id
            ) as listed
            cross join lateral (
                select s.run_id, s.finished_at from syncer_store.zone_scans as s
                where s.zone_key = m.zone_key and s.run_id > listed.run_id and s.status in {WHOLE}
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
                        where t.zone_key = m.zone_key and t.run_id < kept.run_id
                        order by t.run_id desc limit 1
                    ) as t, unnest(t.run_ids, t.finished) as u (run_id, finished_at)
                    where u.run_id > listed.run_id
                ) as looks
                order by run_id limit 1
            ) as first"""


def upgrade() -> None:
    looks_at_zones_that_went()
    what_ended()
    what_is_missing()


def looks_at_zones_that_went() -> None:
    # As 0010 did of looks in part: also a look that read a zone which went before its end (few).
    seen = """
            select s.zone_key, s.run_id, s.observed_at
            from syncer_store.zone_scans as s
            join syncer_store.runs as r on r.run_id = s.run_id and r.clock_at is null
            where s.status = 'gone' and (s.appeared, s.changed, s.returned) <> (0, 0, 0)"""
    for table, ends in (("images", "removed_at"), ("image_history", "valid_to")):
        op.execute(f"""
            update syncer_store.{table} as v
            set removed_not_before = s.observed_at
            from ({seen}) as s
            where v.zone_key = s.zone_key and v.opened_run_id = s.run_id
              and v.removed_run_id is not null
              and (v.removed_not_before is null or v.removed_not_before < s.observed_at)
              and s.observed_at < v.{ends}""")
        op.execute(f"""
            update syncer_store.{table} as v
            set opened_not_before = s.observed_at
            from ({seen}) as s
            join syncer_store.image_history as p
                on p.zone_key = s.zone_key and p.opened_run_id = s.run_id
            where v.zone_key = p.zone_key and v.image_id = p.image_id and v.valid_from = p.valid_to
              and v.opened_kind = 'changed'
              and (v.opened_not_before is null or v.opened_not_before < s.observed_at)
              and s.observed_at < v.valid_from""")
    op.execute(f"""
        update syncer_store.missing as m
        set last_listed_at = s.observed_at
        from syncer_store.images as i
        join ({seen}) as s on s.zone_key = i.zone_key and s.run_id = i.opened_run_id
        where m.zone_key = i.zone_key and m.image_id = i.image_id
          and (m.last_listed_at is null or m.last_listed_at < s.observed_at)""")


def what_ended() -> None:
    # Versions that a run before 0009 ended (it has no clock_at), of an image that the whole look
    # before that run had not listed: it was seen last by an older one.
    # A million versions: 4 s, one step in an index each.
    op.execute(f"""
        with ended as materialized (
            select zone_key, image_id, 'removed' as ended_by, removed_run_id as run_id,
                   removed_at as ended_at, removed_not_before as last_listed_at
            from syncer_store.images where removed_run_id is not null
            union all
            select zone_key, image_id, 'removed', removed_run_id, valid_to, removed_not_before
            from syncer_store.image_history where removed_run_id is not null
            union all
            select zone_key, image_id, 'seen', opened_run_id, valid_from, opened_not_before
            from syncer_store.images where opened_kind = 'changed'
            union all
            select zone_key, image_id, 'seen', opened_run_id, valid_from, opened_not_before
            from syncer_store.image_history where opened_kind = 'changed'
        ), missed as materialized (
            select e.*
            from ended as e
            join syncer_store.runs as r on r.run_id = e.run_id and r.clock_at is null
            cross join lateral (
                select s.observed_at from syncer_store.zone_scans as s
                where s.zone_key = e.zone_key and s.run_id < e.run_id and s.status in {WHOLE}
                order by s.run_id desc limit 1) as whole
            where e.last_listed_at < whole.observed_at
        )
        insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
            ended_run_id, seen_at, last_listed_at)
        select m.zone_key, m.image_id, first.finished_at, m.ended_at, m.ended_by, m.run_id,
               case when m.ended_by = 'seen' then coalesce(again.observed_at, m.ended_at) end,
               m.last_listed_at
        from missed as m {FIRST}
        left join syncer_store.zone_scans as again
            on again.zone_key = m.zone_key and again.run_id = m.run_id
        where first.run_id < m.run_id and first.finished_at < m.ended_at
          and not exists (
              select from syncer_store.image_gaps as g
              where g.zone_key = m.zone_key and g.image_id = m.image_id
                and g.gap_from < m.ended_at and g.gap_to > first.finished_at)""")


def what_is_missing() -> None:
    # 0010 looked for the look that listed it last among those that were not thinned.
    op.execute(f"""
        update syncer_store.missing as old
        set missing_since = first.finished_at, since_run_id = first.run_id
        from syncer_store.missing as m {FIRST}
        where old.zone_key = m.zone_key and old.image_id = m.image_id
          and m.since_run_id <> first.run_id
          and exists (select from syncer_store.runs as r
                      where r.run_id = m.since_run_id and r.clock_at is null)""")
