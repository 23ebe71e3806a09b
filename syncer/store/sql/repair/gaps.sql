-- What was missing.
update syncer_store.image_gaps as g
set gap_from = syncer_store.repaired_stamp($1, $2, g.gap_from),
    gap_to = syncer_store.repaired_stamp($1, $2, g.gap_to),
    seen_at = syncer_store.repaired_stamp($1, $2, g.seen_at),
    last_listed_at = syncer_store.repaired_stamp($1, $2, g.last_listed_at),
    withheld_since = syncer_store.repaired_stamp($1, $2, g.withheld_since)
from syncer_store.zones as z
where z.zone_key = g.zone_key and z.account = $1
  and greatest(g.gap_from, g.gap_to, g.seen_at, g.last_listed_at, g.withheld_since) > $2
