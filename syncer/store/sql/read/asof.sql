-- The images that were present at an instant, as `syncer asof` shows them. An account that is alone
-- is given to the function, which then looks at its zones only.
select account, service, zone_id, image_id, {tracked}, {added}, valid_from, observed_at
from syncer.images_asof($5, case when cardinality($1::text[]) = 1 then ($1::text[])[1] end)
where ($1::text[] is null or account = any ($1))
  and ($2::text[] is null or service = any ($2))
  and ($3::text[] is null or zone_id ~ any ($3))
  and ($4::text[] is null or image_id ~ any ($4) or image_name ~ any ($4))
order by account, service, zone_id, image_id
limit $6
