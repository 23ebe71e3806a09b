-- A worker ended.
delete from syncer_store.workers where worker = $1
