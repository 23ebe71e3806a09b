-- Keep the digests of what looks read in another order or spelling, where a look is kept still.
update syncer_store.zone_digests as d
set pages = t.pages, hash = t.hash, unordered = t.unordered
from unnest($1::integer[], $2::bytea[], $3::text[], $4::bytea[])
    as t (zone_key, pages, hash, unordered)
where d.zone_key = t.zone_key
