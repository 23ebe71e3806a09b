-- What is to be kept of each zone of an account: all from kept_from on (null: nothing is older),
-- and the scans from first_run on: the last whole look before that, which answers rest on. Age ($2)
-- is counted from the last look that read the zone: while nobody looks, nothing grows old.
select z.zone_key, old.kept_from, coalesce(anchor.run_id, 0) as first_run,
       coalesce(k.thinned_to, 0) as thinned_to
from syncer_store.zones as z
left join syncer_store.retention as k on k.zone_key = z.zone_key
left join lateral (
    select least(finished_at, now()) as read_at from syncer_store.zone_scans as s
    where s.zone_key = z.zone_key and s.status in ('unchanged', 'changed', 'guarded', 'incomplete')
    order by s.run_id desc limit 1) as newest on true
left join lateral (
    select finished_at from syncer_store.zone_scans as s
    where s.zone_key = z.zone_key
    order by s.run_id limit 1) as oldest on true
left join lateral (
    select greatest(newest.read_at - $2::interval, k.kept_from) as kept_from
) as wanted on true
left join lateral (
    select wanted.kept_from
    where oldest.finished_at <= wanted.kept_from or k.kept_from is not null) as old on true
left join lateral (
    select run_id from syncer_store.runs as r
    where r.account = z.account and r.started_at <= old.kept_from
    order by r.started_at desc limit 1) as begun on true
left join lateral (
    select run_id from syncer_store.zone_scans as s
    where s.zone_key = z.zone_key and s.run_id <= begun.run_id and s.finished_at <= old.kept_from
      and s.status in ('unchanged', 'changed', 'guarded')
    order by s.run_id desc limit 1) as anchor on true
where z.account = $1
order by z.zone_key
