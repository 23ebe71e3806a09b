-- Zones, as `syncer zones` shows them.
-- Why the last look was not whole is what zone_scans has of it.
select z.account, z.service, z.zone_id, z.zone_name, z.attributes, z.first_seen_at, z.last_seen_at,
       z.gone_at, z.last_complete_at, z.last_attempt_at, z.last_status, z.present_images,
       z.withheld_removals, z.approved_removals, z.kept_from, z.listed, z.unlisted_images,
       z.retired_by, last.error_code, last.error_message
from syncer.zones as z
left join lateral (
    select s.error_code, s.error_message
    from syncer.zone_scans as s
    where z.last_status in ('failed', 'incomplete')
      and s.account = z.account and s.service = z.service and s.zone_id = z.zone_id
      and s.observed_at = z.last_attempt_at
    order by s.run_id desc
    limit 1
) as last on true
where ($1::text[] is null or z.account = any ($1))
  and ($2::text[] is null or z.service = any ($2))
  and ($3::text[] is null or z.zone_id ~ any ($3))
order by z.account, z.service, z.zone_id
limit $4
