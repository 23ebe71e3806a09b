-- Runs left behind by a process that died: they end now ($2), and what they committed is numbered.
with dead as (
    select r.run_id, coalesce(max(s.last_change), 0) as changes
    from syncer_store.runs as r
    left join syncer_store.zones as z on z.account = r.account
    left join syncer_store.zone_scans as s on s.zone_key = z.zone_key and s.run_id = r.run_id
    where r.account = $1 and r.status = 'running'
    group by r.run_id
), head as (
    update syncer_store.feed
    set last_change_id = last_change_id + (select sum(changes) from dead)
    where exists (select from dead)
    returning last_change_id
), numbered as (
    select run_id, changes,
           (select last_change_id from head) - sum(changes) over (order by run_id desc) as base
    from dead
)
update syncer_store.runs as r
set status = 'crashed', finished_at = $2::timestamptz, changes = n.changes,
    change_base = n.base, error_code = 'CRASHED',
    error_message = 'the process ended without finishing the run'
from numbered as n
where r.run_id = n.run_id
returning r.run_id
