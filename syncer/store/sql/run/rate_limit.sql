-- What the runs of an account learnt of the API's rate limit, in calls a second.
select rate from syncer_store.rate_limits where account = $1
