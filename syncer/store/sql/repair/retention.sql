-- From when on all is kept.
update syncer_store.retention as k
set kept_from = syncer_store.repaired_stamp($1, $2, k.kept_from)
from syncer_store.zones as z
where z.zone_key = k.zone_key and z.account = $1 and k.kept_from > $2
