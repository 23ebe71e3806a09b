-- The latest versions: after the closed ones, which must end by then.
update syncer_store.images as i
set first_seen_at = syncer_store.repaired_stamp($1, $2, i.first_seen_at),
    valid_from = syncer_store.repaired_stamp($1, $2, i.valid_from),
    opened_not_before = syncer_store.repaired_stamp($1, $2, i.opened_not_before),
    removed_at = syncer_store.repaired_stamp($1, $2, i.removed_at),
    removed_not_before = syncer_store.repaired_stamp($1, $2, i.removed_not_before)
from syncer_store.zones as z
where z.zone_key = i.zone_key and z.account = $1
  and greatest(i.first_seen_at, i.valid_from, i.opened_not_before, i.removed_at,
               i.removed_not_before) > $2
