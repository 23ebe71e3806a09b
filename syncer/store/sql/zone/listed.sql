-- Whether zones are listed, where that changed and nothing else did.
update syncer_store.zones as z
set listed = t.listed
from unnest($1::integer[], $2::boolean[]) as t (zone_key, listed)
where z.zone_key = t.zone_key and z.listed <> t.listed
