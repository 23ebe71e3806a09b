-- What a run ($1) withheld by rules of its own and is withheld still, by zone.
select r.account, z.zone_key, z.service, z.zone_id, count(m.image_id) as withheld
from syncer_store.runs as r
left join syncer_store.zones as z using (account)
left join syncer_store.missing as m
    on m.zone_key = z.zone_key and m.held_by_run_id = r.run_id
   and m.withheld_since is not null and m.approval_id is null
where r.run_id = $1
group by r.account, z.zone_key, z.service, z.zone_id
order by z.service, z.zone_id
