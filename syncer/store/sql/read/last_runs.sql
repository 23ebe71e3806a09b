-- The last run of each account that has ended, and how old the oldest last whole look is at a zone of
-- it that is there.
with recursive known (account) as (
    select min(account) from syncer.runs
    union all
    select (select min(r.account) from syncer.runs as r where r.account > known.account)
    from known
    where known.account is not null
)
select known.account, r.run_id, r.status, r.error_message, z.zones, z.never,
       greatest(clock_timestamp() - z.looked_at, interval '0') as oldest
from known
cross join lateral (
    select run_id, status, error_message
    from syncer.runs
    where account = known.account and status <> 'running'
    order by run_id desc
    limit 1
) as r
cross join lateral (
    select count(*) as zones, count(*) filter (where last_complete_at is null) as never,
           min(last_complete_at) as looked_at
    from syncer.zones
    where account = known.account and gone_at is null
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
) as z
where $1::text[] is null or known.account = any ($1)
order by known.account
