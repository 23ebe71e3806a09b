-- Have an account crawled by no worker any more.
delete from syncer_store.account_schedule
where account = $1 and not syncer_store.at_work($1)
returning account
