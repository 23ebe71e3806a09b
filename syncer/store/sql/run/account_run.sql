-- The newest run of an account, as far as it has begun.
select run_id from syncer_store.accounts where account = $1
