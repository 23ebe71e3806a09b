-- Zones that are new, or whose name or attributes changed (the caller sends only those).
insert into syncer_store.zones (
    account, service, zone_id, zone_name, attributes, first_seen_at, newest_at)
select $1, t.service, t.zone_id, t.zone_name, t.attributes::jsonb, $6::timestamptz, $6
from unnest($2::text[], $3::text[], $4::text[], $5::text[])
    as t (service, zone_id, zone_name, attributes)
order by t.service, t.zone_id
on conflict (account, service, zone_id)
    do update set zone_name = excluded.zone_name, attributes = excluded.attributes
returning zone_key, service, zone_id
