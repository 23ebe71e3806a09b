-- The zones of an account's services ($2): how old what is known of them is, and what is withheld.
select z.service, z.zone_id, z.gone_at, z.last_complete_clock as last_complete_at, z.last_status,
       z.present_images + z.unlisted_images as present_images,
       z.withheld_removals, z.approved_removals, w.withheld_since, clock_timestamp() as now
from syncer.zones as z
left join lateral (
    select min(i.withheld_since) as withheld_since
    from syncer.images as i
    where z.withheld_removals > 0 and i.withheld_since is not null
      and (i.account, i.service, i.zone_id) = (z.account, z.service, z.zone_id)) as w on true
where z.account = $1 and z.service = any ($2)
order by z.service, z.zone_id
