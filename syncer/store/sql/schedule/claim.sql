-- Claim the moment: one of all workers does, once in $1 seconds.
with claimed as (
    select one from syncer_store.ticks
    where ticked_at <= clock_timestamp() - make_interval(secs => $1) or ticked_at > clock_timestamp()
    for update skip locked
)
update syncer_store.ticks as t set ticked_at = clock_timestamp()
from claimed as c where t.one = c.one
returning t.one
