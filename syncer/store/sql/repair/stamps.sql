-- The stamps of an account that are later than $2, each with the run that it belongs to: the last
-- that began by then.
select s.at, r.started_at as run_started_at, r.clock_at as run_clock_at
from (select distinct at from syncer_store.stamps where account = $1 and at > $2) as s
left join lateral (
    select r.started_at, r.clock_at
    from syncer_store.runs as r
    where r.account = $1 and r.started_at <= s.at
    order by r.started_at desc
    limit 1) as r on true
order by s.at
