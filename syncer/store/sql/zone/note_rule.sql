-- Why candidates wait that nobody judged yet.
update syncer_store.missing
set rule = $2
where zone_key = $1 and image_id = any ($3::text[])
