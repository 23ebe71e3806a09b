-- What an account's runs learnt of the API's rate limit.
select calls_per_second, learnt_at, run_id, clock_timestamp() as now
from syncer.rate_limits
where account = $1
