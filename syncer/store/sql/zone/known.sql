-- Every zone of an account: its key, what is known of it, its last whole look. What that look read
-- counts for nothing while an approval waits for a look. The run before $2 (null: the newest one)
-- read it last if it ended well.
select z.zone_key, z.service, z.zone_id, z.zone_name, z.attributes, z.gone_at is not null as gone,
       z.present, m.withheld::integer as withheld, z.first_run_id, z.key_digest,
       z.asked_when_gone, z.listed,
       whole.observed_at as last_complete_at, whole.run_id as last_complete_run_id,
       coalesce(whole.run_id = (
           select case when r.status in ('succeeded', 'partial') then r.run_id end
           from syncer_store.runs as r
           where r.account = $1 and r.run_id is distinct from $2::bigint
           order by r.run_id desc limit 1), false) as read_last,
       a.max_removals - a.removed as approved, d.parser, d.asked, d.total, d.images, d.pages,
       d.content, d.hash, d.unordered, d.rows is not null as has_rows, d.names
from syncer_store.zones as z
left join syncer_store.approvals as a
    on a.zone_key = z.zone_key and a.outcome is null and a.of_run_id is null
left join syncer_store.zone_digests as d
    on d.zone_key = z.zone_key and a.zone_key is null
left join lateral (
    select s.observed_at, s.run_id from syncer_store.zone_scans as s
    where s.zone_key = z.zone_key and s.status in ('unchanged', 'changed', 'guarded')
    order by s.run_id desc limit 1) as whole on true
cross join lateral (
    select count(withheld_since) as withheld
    from syncer_store.missing as m where m.zone_key = z.zone_key) as m
where z.account = $1
