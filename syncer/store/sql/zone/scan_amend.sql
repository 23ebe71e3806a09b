-- Add to a recorded scan what the removals after the last zone came to; it is guarded while anything
-- of its zone is withheld.
update syncer_store.zone_scans as s
set status = case when $3 = 'gone' then $3 when m.withheld > 0 then 'guarded'
                  else coalesce($3, s.status) end,
    withheld = m.withheld, changed = changed + $4, removed = removed + $5,
    returned = returned + $6, last_change = greatest(last_change, $7),
    error_code = coalesce($8, error_code), error_message = coalesce($9, error_message),
    request_id = coalesce($10, request_id), amended = true
from (
    select count(withheld_since)::integer as withheld
    from syncer_store.missing where zone_key = $1) as m
where s.zone_key = $1 and s.run_id = $2
