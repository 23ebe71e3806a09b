-- End a run and give its changes their numbers in the feed (under feed_lock).
update syncer_store.runs
set finished_at = clock_timestamp(), status = $2,
    zones = $3, zones_unchanged = $4, zones_changed = $5, zones_incomplete = $6,
    zones_failed = $7, zones_guarded = $8, zones_gone = $9, pages = $10, images = $11,
    appeared = $12, changed = $13, removed = $14, returned = $15, withheld = $16,
    rejected = $17, rereads = $18, calls = $19, retries = $20, error_code = $21,
    error_message = $22, changes = $23,
    change_base = (select coalesce(max(change_base + changes), 0) from syncer_store.runs)
where run_id = $1 and status = 'running'
returning run_id
