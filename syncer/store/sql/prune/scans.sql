-- Delete the scans of a zone before the one that answers rest on ($2), and what is kept with them.
-- $3 are looked at, oldest first, after run $5; if $4, nothing is deleted.
with part as materialized (
    select ctid as place, run_id
    from syncer_store.zone_scans
    where zone_key = $1 and run_id > $5 and run_id < $2
    order by run_id
    limit $3
), gone as (
    delete from syncer_store.zone_scans
    where not $4::boolean and ctid = any (array(select place from part))
), times as (
    delete from syncer_store.stretches
    where not $4::boolean and zone_key = $1
      and run_id > $5 and run_id <= (select max(run_id) from part)
)
select count(*) as rows, case when count(*) = $3 then max(run_id) end as run_id
from part
