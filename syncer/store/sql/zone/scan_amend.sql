-- Add to a recorded scan what the removals after the last zone came to.
update syncer_store.zone_scans
set status = coalesce($3, status), changed = changed + $4, removed = removed + $5,
    returned = returned + $6, withheld = $7, last_change = greatest(last_change, $8),
    error_code = coalesce($9, error_code), error_message = coalesce($10, error_message),
    request_id = coalesce($11, request_id), amended = true,
    finished_at = clock_timestamp()
where zone_key = $1 and run_id = $2
