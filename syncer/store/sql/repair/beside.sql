-- What is on no account's time line and was dated by the clock while it was ahead of $1. A baseline
-- goes to the stamp before it; where it comes before all, to just before the one after it.
with rates as (
    update syncer_store.rate_limits set learnt_at = $1 where learnt_at > $1
)
update syncer_store.baselines as b
set saved_at = least(b.saved_at, $1),
    as_of = case when b.as_of > $1 then coalesce(
        (select max(r.new_at) from syncer_store.clock_repairs as r
         where r.repaired_at = $1 and r.old_at <= b.as_of),
        (select min(r.new_at) - interval '1 microsecond' from syncer_store.clock_repairs as r
         where r.repaired_at = $1 and r.old_at > b.as_of), $1) else b.as_of end
where greatest(b.saved_at, b.as_of) > $1
