-- Keep a zone's counts in step with its images ($2, $3 are differences), and its absence.
update syncer_store.zones
set present = present + $2, withheld = withheld + $3,
    gone_at = case when $4 then coalesce(gone_at, now()) when $5 then null else gone_at end
where zone_key = $1
