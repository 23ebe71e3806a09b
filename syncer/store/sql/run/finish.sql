-- End a run at $2 and give its changes their numbers in the feed, whose row is locked until all of
-- it is committed.
with head as (
    update syncer_store.feed
    set last_change_id = last_change_id + $24::integer
    where $24 > 0
      and exists (select from syncer_store.runs where run_id = $1 and status = 'running')
    returning last_change_id - $24 as base
)
update syncer_store.runs
set finished_at = $2::timestamptz, status = $3,
    zones = $4, zones_unchanged = $5, zones_changed = $6, zones_incomplete = $7,
    zones_failed = $8, zones_guarded = $9, zones_gone = $10, pages = $11, images = $12,
    appeared = $13, changed = $14, removed = $15, returned = $16, withheld = $17,
    rejected = $18, rereads = $19, calls = $20, retries = $21, error_code = $22,
    error_message = $23, changes = $24, zones_unlisted = $25, zones_lost = $26,
    change_base = coalesce((select base from head),
                           (select last_change_id from syncer_store.feed))
where run_id = $1 and status = 'running'
returning run_id
