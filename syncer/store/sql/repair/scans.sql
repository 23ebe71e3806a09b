-- Scans.
update syncer_store.zone_scans as s
set started_at = syncer_store.repaired_stamp($1, $2, s.started_at),
    observed_at = syncer_store.repaired_stamp($1, $2, s.observed_at),
    finished_at = syncer_store.repaired_stamp($1, $2, s.finished_at)
from syncer_store.zones as z
where z.zone_key = s.zone_key and z.account = $1
  and greatest(s.started_at, s.observed_at, s.finished_at) > $2
