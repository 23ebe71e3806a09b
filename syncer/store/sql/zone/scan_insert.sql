-- Record what came of reading zones.
insert into syncer_store.zone_scans (
    zone_key, run_id, started_at, observed_at, finished_at, status, listed, pages, images, appeared, changed,
    returned, withheld, rejected, rereads, last_change, error_code, error_message, request_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
