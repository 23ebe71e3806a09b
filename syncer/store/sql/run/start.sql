insert into syncer_store.runs (account, deadline_at, syncer_version, selection)
values ($1, clock_timestamp() + $2::interval, $3, $4)
returning run_id, started_at
