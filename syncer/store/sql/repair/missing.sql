-- What is missing.
update syncer_store.missing as m
set missing_since = syncer_store.repaired_stamp($1, $2, m.missing_since),
    last_listed_at = syncer_store.repaired_stamp($1, $2, m.last_listed_at),
    withheld_since = syncer_store.repaired_stamp($1, $2, m.withheld_since)
from syncer_store.zones as z
where z.zone_key = m.zone_key and z.account = $1
  and greatest(m.missing_since, m.last_listed_at, m.withheld_since) > $2
