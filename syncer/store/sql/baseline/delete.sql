-- Delete a baseline; its images go with it.
delete from syncer_store.baselines
where name = $1
returning baseline_id
