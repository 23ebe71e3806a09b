-- A change_id up to which all changes are older than an instant ($1); null where there are none
-- later. A change of that instant or later is of a run that began then or later, or of the last one
-- of its account before it.
with recursive known (account) as (
    (select account from syncer.runs order by account limit 1)
    union all
    select (select account from syncer.runs as r where r.account > known.account
            order by account limit 1)
    from known
    where known.account is not null
)
select min(base) as change_id
from (
    select last_change_id - changes as base from syncer.runs where started_at >= $1::timestamptz
    union all
    select before.base
    from known
    cross join lateral (
        select last_change_id - changes as base from syncer.runs as r
        where r.account = known.account and r.started_at < $1
        order by r.started_at desc limit 1) as before
) as since
