-- The newest changes in the order they were seen, as `syncer changes` shows them: all, or those after
-- a change_id ($8), which are found as in read/feed.
select change_id, changed_at, not_before, kind, account, service, zone_id, image_id, image_name,
       changed_fields, severity, before, after, run_id,
       case when kind = 'removed' then {replaced: newest} end as replaced_by
from (
    select *
    from syncer.image_changes
    where ($8::bigint is null or change_id > $8)
      and ($8 is null or run_id = any (array(
          select run_id from syncer.runs where changes > 0 and last_change_id > $8)))
      and run_id in (
          select run_id from syncer.runs where $8 is null or changes > 0 and last_change_id > $8)
      and ($1::text[] is null or account = any ($1))
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
      and ($4::text[] is null or image_id ~ any ($4) or image_name ~ any ($4))
      and ($5::timestamptz is null or changed_at >= $5)
      and ($6 or not first_look)
    order by change_id desc
    limit $7
) as newest
order by change_id
