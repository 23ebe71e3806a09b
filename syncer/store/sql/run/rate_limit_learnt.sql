-- Keep what a run learnt of the API's rate limit, where it is news.
insert into syncer_store.rate_limits as known (account, rate, run_id)
values ($1, $2, $3)
on conflict (account) do update
set rate = excluded.rate, run_id = excluded.run_id, learnt_at = clock_timestamp()
where abs(excluded.rate / known.rate - 1) > 0.01
