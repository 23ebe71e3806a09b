-- The workers that are there.
select worker, host, pid, syncer_version, alive, draining, accounts, at_once, running,
       extract(epoch from clock_timestamp() - seen_at)::double precision as unseen
from syncer.workers
order by worker
