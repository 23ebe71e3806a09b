-- The digests of the rows that the last whole look read.
select rows from syncer_store.zone_digests where zone_key = $1
