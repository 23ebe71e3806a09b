-- From now on everything before kept_from is unknown: then older rows may be deleted in any order.
insert into syncer_store.retention as k (zone_key, kept_from)
select zone_key, kept_from
from unnest($1::integer[], $2::timestamptz[]) as t (zone_key, kept_from)
where kept_from is not null
order by zone_key
on conflict (zone_key) do update
set kept_from = greatest(k.kept_from, excluded.kept_from)
where k.kept_from is null or k.kept_from < excluded.kept_from
