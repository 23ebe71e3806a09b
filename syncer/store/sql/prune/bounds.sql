-- Of an account: its newest run, which is left alone; before when runs are old ($2), counted from
-- that run; the last run of whole days (UTC) that are over and old enough to be thinned ($3).
select newest.run_id as newest,
       least(newest.started_at, now()) - $2::interval as old_before,
       least(newest.run_id - 1, coalesce((
           select r.run_id from syncer_store.runs as r
           where r.account = $1 and r.started_at < date_trunc('day', now() - $3::interval, 'UTC')
           order by r.started_at desc limit 1), 0)) as thin_to
from (
    select run_id, started_at from syncer_store.runs
    where account = $1
    order by run_id desc limit 1) as newest
