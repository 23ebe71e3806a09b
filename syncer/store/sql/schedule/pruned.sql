-- What was too old of an account has been deleted.
update syncer_store.account_schedule set pruned_at = clock_timestamp() where account = $1
