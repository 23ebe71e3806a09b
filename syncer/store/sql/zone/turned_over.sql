-- Of the images that a zone's last whole look before this one (of run $2; $3 is what it missed)
-- listed: how many there were, and how many this look lists still. Looks after which something was
-- not judged do not count; nor does what looks in part saw since.
with unjudged as (
    select coalesce(least(min(since_run_id), $2::bigint), 9223372036854775807) as run_id
    from syncer_store.missing
    where zone_key = $1 and judged_run_id is null
), last as (
    select s.finished_at
    from syncer_store.zone_scans as s
    cross join unjudged
    where s.zone_key = $1 and s.run_id < unjudged.run_id
      and s.status in ('unchanged', 'changed', 'guarded')
    order by s.run_id desc
    limit 1
)
select count(*) as listed_before,
       count(*) filter (where i.image_id <> all ($3::text[])) as still_listed
from last
cross join syncer_store.images as i
where i.zone_key = $1 and i.removed_at is null
  and (i.valid_from <= last.finished_at or exists (
      select from syncer_store.image_history as h
      where h.zone_key = i.zone_key and h.image_id = i.image_id
        and h.valid_from <= last.finished_at and h.valid_to > last.finished_at))
  and not exists (
      select from syncer_store.missing as m
      where m.zone_key = i.zone_key and m.image_id = i.image_id
        and m.missing_since <= last.finished_at)
  and not exists (
      select from syncer_store.image_gaps as g
      where g.zone_key = i.zone_key and g.image_id = i.image_id
        and g.gap_from <= last.finished_at and g.gap_to > last.finished_at)
