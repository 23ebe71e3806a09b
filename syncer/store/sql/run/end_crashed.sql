-- Runs left behind by a process that died: they end now ($2), and what they committed is counted
-- and numbered.
with dead as (
    select r.run_id, coalesce(max(s.last_change), 0) as changes,
           count(s.run_id) as zones,
           count(*) filter (where s.status = 'unchanged') as zones_unchanged,
           count(*) filter (where s.status = 'changed') as zones_changed,
           count(*) filter (where s.status = 'incomplete') as zones_incomplete,
           count(*) filter (where s.status = 'failed') as zones_failed,
           count(*) filter (where s.status = 'guarded') as zones_guarded,
           count(*) filter (where s.status = 'gone') as zones_gone,
           coalesce(sum(s.pages), 0) as pages, coalesce(sum(s.images), 0) as images,
           coalesce(sum(s.appeared), 0) as appeared, coalesce(sum(s.changed), 0) as changed,
           coalesce(sum(s.removed), 0) as removed, coalesce(sum(s.returned), 0) as returned,
           coalesce(sum(s.rejected), 0) as rejected, coalesce(sum(s.rereads), 0) as rereads
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
    select dead.*,
           (select last_change_id from head) - sum(changes) over (order by run_id desc) as base
    from dead
)
update syncer_store.runs as r
set status = 'crashed', finished_at = $2::timestamptz, changes = n.changes,
    zones = n.zones, zones_unchanged = n.zones_unchanged, zones_changed = n.zones_changed,
    zones_incomplete = n.zones_incomplete, zones_failed = n.zones_failed,
    zones_guarded = n.zones_guarded, zones_gone = n.zones_gone, pages = n.pages,
    images = n.images, appeared = n.appeared, changed = n.changed, removed = n.removed,
    returned = n.returned, rejected = n.rejected, rereads = n.rereads,
    change_base = n.base, error_code = 'CRASHED',
    error_message = 'the process ended without finishing the run'
from numbered as n
where r.run_id = n.run_id
returning r.run_id
