-- The timeline of an image by id or name, as `syncer history` shows it. Only what is no id is sought
-- among the names, for which every version is read.
with named as (
    select account, service, zone_id, image_id from syncer.images where image_id = $4
    union
    select account, service, zone_id, image_id
    from syncer.image_versions
    where image_name = $4 and not exists (select from syncer.images where image_id = $4)
), meant as (
    select * from named
    where ($1::text[] is null or account = any ($1))
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
)
select change_id, changed_at, not_before, kind, account, service, zone_id, image_id, image_name,
       changed_fields, severity, before, after, run_id,
       case when kind in ('removed', 'missing', 'withheld') then {replaced: timeline} end as replaced_by
from (
    select c.change_id, c.changed_at, c.not_before, c.kind, account, service, zone_id, image_id,
           c.image_name, c.changed_fields, c.severity, c.before, c.after, c.run_id
    from syncer.image_changes as c
    join meant using (account, service, zone_id, image_id)
    union all
    select null, e.at, g.last_listed_at, e.kind, account, service, zone_id, image_id,
           i.image_name, '{}', null, null, null, null
    from syncer.image_gaps as g
    join meant using (account, service, zone_id, image_id)
    join syncer.images as i using (account, service, zone_id, image_id)
    cross join lateral (values
        ('missing', case when g.ended_by is distinct from 'removed' then g.gap_from end),
        ('withheld', g.withheld_since),
        ('seen', case when g.ended_by = 'seen' then g.gap_to end)) as e (kind, at)
    where e.at is not null
    union all
    select null, z.gone_at, null, 'unknown', account, service, zone_id, m.image_id,
           i.image_name, '{}', null, null, null, null
    from syncer.zones as z
    join meant as m using (account, service, zone_id)
    join syncer.images as i using (account, service, zone_id, image_id)
    where z.gone_at is not null
) as timeline
order by changed_at, change_id, account, service, zone_id
limit $5
