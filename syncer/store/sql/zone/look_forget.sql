-- Forget what a whole look read: the next one is compared with what is stored.
delete from syncer_store.zone_digests where zone_key = $1
