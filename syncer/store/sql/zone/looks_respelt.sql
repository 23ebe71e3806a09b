-- Keep the digests of what looks read in another order or spelling, where the look before ($6) is kept
-- still.
update syncer_store.zone_digests as d
set pages = t.pages, hash = t.hash, unordered = t.unordered,
    names = string_to_array(t.names, E'\t')
from unnest($1::integer[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::bytea[])
    as t (zone_key, pages, hash, unordered, names, before)
where d.zone_key = t.zone_key and d.pages = t.before
