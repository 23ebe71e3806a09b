-- Runs. Where one began after $2, its clock was ahead or its stamps were: both are as one now.
update syncer_store.runs as r
set started_at = m.began,
    finished_at = syncer_store.repaired_stamp($1, $2, r.finished_at),
    clock_at = case when r.started_at > $2 then m.began else r.clock_at end,
    deadline_at = case when r.started_at > $2
        then m.began + (r.deadline_at - coalesce(r.clock_at, r.started_at))
        else r.deadline_at end
from syncer_store.runs as o
cross join lateral (
    select syncer_store.repaired_stamp($1, $2, o.started_at) as began) as m
where o.run_id = r.run_id and r.account = $1 and greatest(r.started_at, r.finished_at) > $2
