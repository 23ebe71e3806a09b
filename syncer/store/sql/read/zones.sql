-- Zones, as `syncer zones` shows them.
-- Why the last look was not whole is what the scan of that run says.
select z.account, z.service, z.zone_id, z.zone_name, z.attributes, z.first_seen_at, z.last_seen_at,
       z.gone_at, z.last_complete_at, z.last_attempt_at, z.last_status, z.present_images,
       z.withheld_removals, z.approved_removals, z.kept_from, z.listed, z.unlisted_images,
       z.retired_by, last.error_code, last.error_message
from syncer.zones as z
left join lateral (
    select s.error_code, s.error_message
    from (
        select run_id from syncer.runs
        where account = z.account and started_at <= z.last_attempt_at
        order by started_at desc limit 1) as r -- one run: a zone has as many scans as there were
    join syncer.zone_scans as s using (run_id)
    where z.last_status in ('failed', 'incomplete')
      and s.account = z.account and s.service = z.service and s.zone_id = z.zone_id
) as last on true
where ($1::text[] is null or z.account = any ($1))
  and ($2::text[] is null or z.service = any ($2))
  and ($3::text[] is null or z.zone_id ~ any ($3))
order by z.account, z.service, z.zone_id
limit $4
