-- Keep a zone's count in step with its images ($2 is the difference), and its absence; $5 is the
-- stamp of what is written with it, $6 the run, if it is the first to read anything of the zone, $7
-- whether it is listed (null: not known).
update syncer_store.zones
set present = present + $2, newest_at = greatest(newest_at, $5::timestamptz),
    gone_at = case when $3 then coalesce(gone_at, $5::timestamptz) when $4 then null else gone_at end,
    asked_when_gone = case when $3 then true when $4 then false else asked_when_gone end,
    first_run_id = coalesce(first_run_id, $6), listed = coalesce($7, listed)
where zone_key = $1
