-- Whether a worker said that it is there.
select exists (select from syncer_store.workers where worker = $1)
