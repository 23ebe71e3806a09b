-- Approve the images of a zone that a run's own rules withheld ($2) and that are withheld still.
with approval as (
    insert into syncer_store.approvals (
        zone_key, max_removals, approved_by, approved_at, of_run_id)
    select $1, count(*), $3, $4::timestamptz, $2
    from syncer_store.missing
    where zone_key = $1 and held_by_run_id = $2
      and withheld_since is not null and approval_id is null
    having count(*) > 0
    returning approval_id
)
update syncer_store.missing as m
set approval_id = a.approval_id
from approval as a
where m.zone_key = $1 and m.held_by_run_id = $2
  and m.withheld_since is not null and m.approval_id is null
returning m.image_id
