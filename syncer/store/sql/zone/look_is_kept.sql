-- Whether a zone's last whole look is kept still.
select exists (select from syncer_store.zone_digests where zone_key = $1 and pages = $2)
