-- What the guard withholds of a zone, by a rule and since when: what was withheld before stays so.
update syncer_store.missing
set judged_run_id = $2, rule = coalesce(rule, $3),
    withheld_since = coalesce(withheld_since, $4::timestamptz)
where zone_key = $1 and image_id = any ($5::text[])
