-- Add to a recorded scan what the removals after the last zone came to.
update syncer_store.zone_scans
set status = case when status = 'guarded' and $3 = 'changed' then status
                  else coalesce($3, status) end,
    changed = changed + $4, removed = removed + $5,
    returned = returned + $6, last_change = greatest(last_change, $7),
    error_code = coalesce($8, error_code), error_message = coalesce($9, error_message),
    request_id = coalesce($10, request_id), amended = true
where zone_key = $1 and run_id = $2
