-- By how many seconds the clock is behind the newest stamp of an account (negative: it is not).
select extract(epoch from greatest(started_at, finished_at) - clock_timestamp())::double precision
           as behind
from syncer.runs
where account = $1
order by started_at desc
limit 1
