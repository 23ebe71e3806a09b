-- What is kept of the rows of a zone's last whole look, if that look is kept still.
select rows, amended from syncer_store.zone_digests where zone_key = $1 and pages = $2
