-- The credentials that zones ($1) were read whole with, where that changed.
update syncer_store.zones
set key_digest = $2
where zone_key = any ($1::integer[]) and key_digest is distinct from $2
