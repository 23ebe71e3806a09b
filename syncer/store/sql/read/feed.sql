-- The changes after a change_id, oldest first, as `syncer changes --after` shows them. The runs that
-- hold them are named twice: as an array they reach the index of each table of versions, as a set
-- the runs that number them.
select change_id, changed_at, not_before, kind, account, service, zone_id, image_id, image_name,
       changed_fields, severity, before, after, run_id,
       case when kind = 'removed' then {replaced: c} end as replaced_by
from syncer.image_changes as c
where change_id > $8::bigint
  and run_id = any (array(
      select run_id from syncer.runs where changes > 0 and last_change_id > $8))
  and run_id in (select run_id from syncer.runs where changes > 0 and last_change_id > $8)
  and ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or zone_id ~ any ($3))
  and ($4::text[] is null or image_id ~ any ($4) or image_name ~ any ($4))
  and ($5::timestamptz is null or changed_at >= $5)
  and ($6 or not first_look)
order by change_id
limit $7
