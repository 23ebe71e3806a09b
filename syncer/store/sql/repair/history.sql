-- Closed versions that began after $2.
update syncer_store.image_history as h
set valid_from = syncer_store.repaired_stamp($1, $2, h.valid_from),
    valid_to = syncer_store.repaired_stamp($1, $2, h.valid_to),
    opened_not_before = syncer_store.repaired_stamp($1, $2, h.opened_not_before),
    removed_not_before = syncer_store.repaired_stamp($1, $2, h.removed_not_before)
from syncer_store.zones as z
where z.zone_key = h.zone_key and z.account = $1 and h.valid_from > $2
