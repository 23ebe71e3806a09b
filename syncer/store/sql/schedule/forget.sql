-- Have an account crawled by no worker any more, unless one is at work.
with forgotten as (
    delete from syncer_store.account_schedule
    where account = $1 and not syncer_store.at_work($1)
    returning account
)
select exists (select from syncer_store.account_schedule where account = $1) as known,
       exists (select from forgotten) as forgotten
