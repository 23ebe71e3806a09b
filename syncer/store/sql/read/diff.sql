-- What differs between two instants ($5 before $6), as `syncer diff` shows it. An account that is
-- alone is given to the function, which then looks at its zones only.
select kind, account, service, zone_id, image_id, image_name, changed_fields, before, after,
       changed_at, reason, case when kind = 'removed' then {replaced: d} end as replaced_by
from syncer.changes_between($5, $6, case when cardinality($1::text[]) = 1 then ($1::text[])[1] end) as d
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or zone_id ~ any ($3))
  and ($4::text[] is null or kind = 'unknown' and image_id is null or image_id ~ any ($4)
       or image_name ~ any ($4) or before ->> 'image_name' ~ any ($4))
order by account, service, zone_id, image_id nulls first
