"""From when to when: a zone was read, failed or was gone; an image could not be used.

Revision ID: 0021
Revises: 0020
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ACCOUNT = "The credentials that it was read with, by the name that you gave them"
COMMENTS = {
    "zone_spells": {
        "": "From when to when each zone was read whole, could not be read, or was gone",
        "account": ACCOUNT,
        "service": "vm, zec or bmc: the service of Zenlayer Cloud that has the zone",
        "zone_id": "The zone, by its id in the API; bmc has the one zone *",
        "state": "read (whole); incomplete (what was read did not add up); failed (nothing was "
        "read); gone (the zone was not offered, until it was read whole again)",
        "spell_from": "When the first scan that came to this had ended",
        "spell_to": "When the first scan that came to something else had ended (null: none yet)",
        "scans": "How many scans came to this, one after the other",
        "longest_wait": "The longest time from one scan of it to the next: how old what was known "
        "became (null: there was no next one yet)",
        "error_code": "Why its first scan did not read the zone: a short name",
        "error_message": "The same, in words",
    },
    "image_outages": {
        "": "From when to when an image that could be used could not: removed, or not AVAILABLE",
        "account": ACCOUNT,
        "service": "vm, zec or bmc: the service of Zenlayer Cloud whose image it is",
        "zone_id": "The zone, by its id in the API; bmc has the one zone *",
        "image_id": "The image, by its id in the API; the same id may occur in several zones",
        "image_name": "The name of the image when the outage began",
        "began_as": "removed, or the status that it had instead of AVAILABLE",
        "outage_from": "When it was first seen that the image cannot be used",
        "outage_to": "When it was first seen AVAILABLE again (null: it was not yet)",
        "duration": "How long that was (null: it lasts)",
        "not_before": "When it was seen AVAILABLE last: it began between this and outage_from",
    },
}


def upgrade() -> None:
    zone_spells()
    image_outages()
    for view, columns in COMMENTS.items():
        for column, meaning in columns.items():
            of = f"column syncer.{view}.{column}" if column else f"view syncer.{view}"
            op.execute(f"comment on {of} is '{meaning}'")


def zone_spells() -> None:
    # Zone by zone, so that who asks for one reads the scans of one. A row that stands for several
    # scans (prune) is taken apart again, since it hides how long was waited.
    op.execute("""
        create view syncer.zone_spells as
        select z.account, z.service, z.zone_id, s.state, s.spell_from, s.spell_to,
               s.scans::integer, s.longest_wait, s.error_code, s.error_message
        from syncer_store.zones as z
        cross join lateral (
            select state, min(at) as spell_from,
                   nullif(max(coalesce(next_at, 'infinity')), 'infinity') as spell_to,
                   count(run_id) as scans,
                   max(next_at - at) as longest_wait,
                   max(error_code) filter (where begins = 1) as error_code,
                   max(error_message) filter (where begins = 1) as error_message
            from (
                select *, sum(begins) over by_time as number
                from (
                    select *, (lag(state) over by_time is distinct from state)::integer as begins,
                           lead(at) over by_time as next_at
                    from (
                        -- What is gone stays so until the next whole look.
                        select at, run_id, error_code, error_message,
                               case when gone_at > coalesce(read_at, '-infinity')
                                    then 'gone' else outcome end as state
                        from (
                            select *,
                                   max(at) filter (where outcome = 'read') over by_time as read_at,
                                   max(at) filter (where outcome = 'gone') over by_time as gone_at
                            from (
                                select s.finished_at as at, s.run_id, s.error_code, s.error_message,
                                       case when s.status in ('unchanged', 'changed', 'guarded')
                                            then 'read' else s.status end as outcome
                                from syncer_store.zone_scans as s
                                where s.zone_key = z.zone_key
                                union all
                                select u.at, u.run_id, s.error_code, s.error_message,
                                       case when s.status in ('unchanged', 'changed', 'guarded')
                                            then 'read' else s.status end
                                from syncer_store.stretches as t
                                join syncer_store.zone_scans as s
                                    on s.zone_key = t.zone_key and s.run_id = t.run_id
                                cross join unnest(t.run_ids, t.finished) as u (run_id, at)
                                where t.zone_key = z.zone_key
                                union all
                                select r.retired_at, null, null,
                                       'retired by ' || r.retired_by, 'gone'
                                from syncer_store.retirements as r
                                where r.zone_key = z.zone_key
                            ) as scanned
                            window by_time as (order by at, run_id rows unbounded preceding)
                        ) as looked_at
                    ) as judged
                    window by_time as (order by at, run_id)
                ) as marked
                window by_time as (order by at, run_id rows unbounded preceding)
            ) as numbered
            group by number, state
        ) as s""")


def image_outages() -> None:
    # It begins where a version that was AVAILABLE ended, and ends where the next such one begins.
    # The few versions that are not, and removals, are looked for first, zone by zone, so that who
    # asks for one reads one; the rest are their neighbours in the primary keys.
    op.execute("""
        create view syncer.image_outages as
        select z.account, z.service, z.zone_id, o.image_id, o.image_name, o.began_as,
               o.at as outage_from, again.at as outage_to, again.at - o.at as duration,
               o.not_before
        from syncer_store.zones as z
        cross join lateral (
            select i.zone_key, i.image_id, i.image_name, 'removed' as began_as,
                   i.removed_at as at, i.removed_not_before as not_before
            from syncer_store.images as i
            where i.zone_key = z.zone_key and i.removed_run_id is not null
              and i.image_status = 'AVAILABLE'
            union all
            select h.zone_key, h.image_id, h.image_name, 'removed', h.valid_to,
                   h.removed_not_before
            from syncer_store.image_history as h
            where h.zone_key = z.zone_key and h.removed_run_id is not null
              and h.image_status = 'AVAILABLE'
            union all
            select v.zone_key, v.image_id, v.image_name, v.image_status, v.valid_from,
                   v.opened_not_before
            from (
                select zone_key, image_id, image_name, image_status, valid_from, opened_kind,
                       opened_not_before
                from syncer_store.images
                union all
                select zone_key, image_id, image_name, image_status, valid_from, opened_kind,
                       opened_not_before
                from syncer_store.image_history
            ) as v
            where v.zone_key = z.zone_key and v.opened_kind = 'changed'
              and v.image_status is distinct from 'AVAILABLE'
              and 'AVAILABLE' = (
                  select p.image_status from syncer_store.image_history as p
                  where p.zone_key = v.zone_key and p.image_id = v.image_id
                    and p.valid_from < v.valid_from
                  order by p.valid_from desc limit 1)
        ) as o
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
