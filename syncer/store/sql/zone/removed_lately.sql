-- How many images of a zone were removed in the last 24 hours, by the clock, and are not back; what
-- a person approved does not count.
select count(*)
from syncer_store.images as i
join syncer_store.runs as r on r.run_id = i.removed_run_id
where i.zone_key = $1 and i.removed_run_id is not null
  and i.removed_run_id >= (
      select min(n.run_id) from syncer_store.runs as n
      where n.account = $2 and n.started_at > clock_timestamp() - interval '24 hours')
  and coalesce(r.clock_at, r.started_at) > clock_timestamp() - interval '24 hours'
  and not exists (
      select from syncer_store.image_gaps as g
      where g.zone_key = i.zone_key and g.image_id = i.image_id and g.gap_to = i.removed_at
        and g.approval_id is not null)
