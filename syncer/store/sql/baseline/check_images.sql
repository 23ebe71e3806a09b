-- What is stored of pinned images: $3 to $6 are the pins, one array a column; a pin without an
-- account or a service may mean several.
select p.pin, i.account, i.service, i.presence, {tracked: i.@}, i.added, i.removed_at,
       case when i.presence <> 'present' and i.removed_at is not null then (
           select max(v.last_listed_at)
           from syncer.image_versions as v
           where (v.account, v.service, v.zone_id, v.image_id, v.valid_to)
               = (i.account, i.service, i.zone_id, i.image_id, i.removed_at)) end as not_before,
       i.withheld_since, i.unlisted_since,
       case when i.presence <> 'present' then {replaced: i} end as replaced_by
from unnest($3::text[], $4::text[], $5::text[], $6::text[])
    with ordinality as p (account, service, zone_id, image_id, pin)
join syncer.images as i
    on i.zone_id = p.zone_id and i.image_id = p.image_id
   and (p.account is null or i.account = p.account)
   and (p.service is null or i.service = p.service)
where ($1::text[] is null or i.account = any ($1))
  and ($2::text[] is null or i.service = any ($2))
order by p.pin, i.account, i.service
