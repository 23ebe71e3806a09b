-- The newest changes in the order they were seen, as `syncer changes` shows them.
select change_id, changed_at, not_before, kind, account, service, zone_id, image_id, image_name,
       changed_fields, severity, before, after, run_id
from (
    select *
    from syncer.image_changes
    where ($1::text[] is null or account = any ($1))
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
      and ($4::text[] is null or image_id ~ any ($4) or image_name ~ any ($4))
      and ($5::timestamptz is null or changed_at >= $5)
      and ($6 or not first_look)
    order by change_id desc
    limit $7
) as newest
order by change_id
