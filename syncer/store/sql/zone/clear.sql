-- What the guard let pass of zones: only what it spoke about is asked for by id. What a person
-- approved stays withheld until an answer counts.
update syncer_store.missing
set judged_run_id = $1
from unnest($2::integer[], $3::text[]) as t (zone_key, image_id)
where missing.zone_key = t.zone_key and missing.image_id = t.image_id
