-- What the guard withholds of a zone, by a rule and since when: what was withheld before stays so.
-- $6 is the run, if the rule is its own.
update syncer_store.missing
set judged_run_id = $2, rule = case when withheld_since is null then $3 else rule end,
    held_by_run_id = case when withheld_since is null then $6 else held_by_run_id end,
    withheld_since = coalesce(withheld_since, $4::timestamptz)
where zone_key = $1 and image_id = any ($5::text[])
