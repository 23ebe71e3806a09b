-- No run of the account is at work: one that crashed and wakes up may write no stamp of the old time.
update syncer_store.accounts
set run_id = null, pid = null, lock_key = null
where account = $1
