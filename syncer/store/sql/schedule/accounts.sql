-- What workers crawl, and how it stands.
select account, state, extract(epoch from every)::double precision as every, worker, workers,
       extract(epoch from clock_timestamp() - due_at)::double precision as overdue,
       ended_at is not null as ended, failures, result
from syncer.account_schedule
order by account
