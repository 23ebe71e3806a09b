-- Of the images that the last judged whole look of a zone listed: how many there were, and how many
-- this look (of run $2, stamped $3; $4 is what it missed) lists still. What nobody judged yet counts
-- as listed by the look before it, and what appeared since then does not.
with first as (
    select coalesce(least(min(since_run_id), $2::bigint), 9223372036854775807) as run_id
    from syncer_store.missing
    where zone_key = $1 and judged_run_id is null
)
select count(*) as listed_before,
       count(*) filter (where i.image_id <> all ($4::text[])) as still_listed
from first
cross join syncer_store.images as i
left join syncer_store.missing as m on m.zone_key = i.zone_key and m.image_id = i.image_id
where i.zone_key = $1 and i.removed_at is null
  and (i.opened_run_id < first.run_id or i.opened_kind = 'changed')
  and (m.image_id is null or m.judged_run_id is null)
  and not exists (
      select from syncer_store.image_gaps as g
      where g.zone_key = i.zone_key and g.image_id = i.image_id and g.gap_to = $3)
