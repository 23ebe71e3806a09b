-- Let accounts ($1) be crawled, at intervals ($2, in seconds): the first time at once. Who serves
-- an account says how often; where that becomes more often, its next run comes sooner.
insert into syncer_store.account_schedule as s (account, every)
select account, make_interval(secs => seconds)
from unnest($1::text[], $2::double precision[]) as g (account, seconds)
order by account
on conflict (account) do update
set every = excluded.every,
    due_at = least(s.due_at, clock_timestamp() + excluded.every)
where s.every <> excluded.every
