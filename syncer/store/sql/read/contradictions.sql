-- Zones whose list lacked images that the API, asked by id, returned: in how many of the last ten
-- runs of an account, if in $4 of them or more; of one zone ($2, $3) or of all.
with last as (
    select run_id, started_at, coalesce(finished_at, 'infinity') as ended_at
    from syncer.runs
    where account = $1
    order by run_id desc
    limit 10
)
select g.service, g.zone_id, count(distinct l.run_id)::integer as runs,
       (select count(*) from last)::integer as of_runs,
       count(distinct g.image_id)::integer as images, min(g.image_id) as image_id
from syncer.image_gaps as g
join last as l on g.gap_to between l.started_at and l.ended_at
where g.account = $1 and ($2::text is null or (g.service, g.zone_id) = ($2, $3::text))
  and g.gap_to >= (select min(started_at) from last)
  and g.ended_by = 'seen' and g.seen_at = g.gap_to
group by g.service, g.zone_id
having count(distinct l.run_id) >= $4
order by g.service, g.zone_id
