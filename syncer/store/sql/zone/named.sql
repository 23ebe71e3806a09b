-- The zones that an id may mean.
select z.zone_key, z.account, z.service, z.zone_id, (
           select count(withheld_since) from syncer_store.missing as m
           where m.zone_key = z.zone_key)::integer as withheld,
       z.gone_at is not null as gone, v.listed
from syncer_store.zones as z
join syncer.zones as v using (account, service, zone_id)
where z.zone_id = $3 and ($1::text is null or z.account = $1)
  and ($2::text is null or z.service = $2)
order by z.account, z.service
