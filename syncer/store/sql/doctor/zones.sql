-- The zones of an account's services ($2): how old what is known of them is, and what is withheld.
select z.service, z.zone_id, z.gone_at, z.listed, z.last_complete_clock as last_complete_at,
       z.last_status, z.present_images + z.unlisted_images as present_images,
       z.withheld_removals, z.approved_removals, w.withheld_since, w.rules, w.republished,
       clock_timestamp() as now
from syncer.zones as z
cross join lateral (
    select min(g.withheld_since) as withheld_since, count(g.namesake_id) as republished,
           coalesce(array_agg(distinct g.rule) filter (where g.rule is not null), '{}') as rules
    from syncer.image_gaps as g
    where z.withheld_removals > 0 and g.gap_to is null and g.withheld_since is not null
      and (g.account, g.service, g.zone_id) = (z.account, z.service, z.zone_id)) as w
where z.account = $1 and z.service = any ($2)
order by z.service, z.zone_id
