-- Whether a transaction of this run is done: the one that records a zone's scan, or ($3) amends it.
select exists (
    select from syncer_store.zone_scans
    where zone_key = $1 and run_id = $2 and (amended or not $3))
