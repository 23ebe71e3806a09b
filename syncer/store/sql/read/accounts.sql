-- The accounts there are runs of, found without reading every run.
with recursive known (account) as (
    select min(account) from syncer.runs
    union all
    select (select min(r.account) from syncer.runs as r where r.account > known.account)
    from known
    where known.account is not null
)
select account from known where account is not null
