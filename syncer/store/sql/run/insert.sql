-- The row of a run that begins: it may be at work until its deadline ($2 from now).
insert into syncer_store.runs (account, deadline_at, syncer_version, selection)
values ($1, clock_timestamp() + $2::interval, $3, $4)
returning run_id
