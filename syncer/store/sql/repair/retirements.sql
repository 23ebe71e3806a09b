-- Retired zones.
update syncer_store.retirements as t
set retired_at = syncer_store.repaired_stamp($1, $2, t.retired_at),
    ended_at = syncer_store.repaired_stamp($1, $2, t.ended_at)
from syncer_store.zones as z
where z.zone_key = t.zone_key and z.account = $1 and greatest(t.retired_at, t.ended_at) > $2
