-- What of a zone is withheld.
select image_id from syncer_store.missing
where zone_key = $1 and withheld_since is not null
order by image_id
