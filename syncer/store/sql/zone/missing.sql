-- Images of a zone that a look missed ($2): their type, in how many looks, and what the guard said.
select i.image_id, i.image_type, coalesce(m.looks, 0) as looks, m.rule,
       m.judged_run_id is not null as judged,
       m.withheld_since is not null as withheld, m.approval_id,
       m.namesake_id is not null as renamed
from syncer_store.images as i
left join syncer_store.missing as m using (zone_key, image_id)
where i.zone_key = $1 and i.image_id = any ($2::text[])
order by i.image_id
