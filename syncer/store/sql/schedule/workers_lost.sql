-- Forget workers that were not seen for a day.
delete from syncer_store.workers
where abs(extract(epoch from clock_timestamp() - seen_at)) > 86400
