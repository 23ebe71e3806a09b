-- Images that were missed and are seen again (at $5, by a look or when asked for by id): the gap in
-- what is known of them ends at $3.
with again as (
    delete from syncer_store.missing as m
    where m.zone_key = $1 and m.image_id = any ($4::text[])
    returning m.*
)
insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by, ended_run_id,
    seen_at, last_listed_at, rule, withheld_since, namesake_id, approval_id)
select zone_key, image_id, missing_since, $3, 'seen', $2, $5, last_listed_at, rule, withheld_since,
       namesake_id, approval_id
from again
