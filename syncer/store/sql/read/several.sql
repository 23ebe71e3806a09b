-- Whether more than one account, and more than one service, are among those chosen; and the time.
select coalesce((select min(account) <> max(account) from syncer.runs
                 where $1::text[] is null or account = any ($1)), false) as account,
       coalesce((select min(service) <> max(service) from syncer.zones
                 where ($1::text[] is null or account = any ($1))
                   and ($2::text[] is null or service = any ($2))), false) as service,
       clock_timestamp() as now
