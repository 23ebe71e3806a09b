-- Nobody numbers changes meanwhile.
select last_change_id from syncer_store.feed for update
