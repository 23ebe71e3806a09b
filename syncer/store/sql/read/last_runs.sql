-- The last run of each of these accounts that has ended; if asked for ($4), how old the oldest last
-- whole look is at a zone of it that is there.
select r.account, r.run_id, r.status, r.error_message, z.zones, z.never,
       greatest(clock_timestamp() - z.looked_at, interval '0') as oldest
from (select distinct unnest($1::text[])) as chosen (account)
cross join lateral (
    select account, run_id, status, error_message
    from syncer.runs
    where account = chosen.account and status <> 'running'
    order by run_id desc
    limit 1
) as r
cross join lateral (
    select count(*) as zones, count(*) filter (where last_complete_at is null) as never,
           min(last_complete_at) as looked_at
    from syncer.zones
    where $4 and account = chosen.account and gone_at is null
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
) as z
order by r.account
