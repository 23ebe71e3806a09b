-- Closed versions that began before $2 and end after it. They move first: what moves later comes
-- to lie behind them.
update syncer_store.image_history as h
set valid_to = syncer_store.repaired_stamp($1, $2, h.valid_to),
    removed_not_before = syncer_store.repaired_stamp($1, $2, h.removed_not_before)
from syncer_store.zones as z
where z.zone_key = h.zone_key and z.account = $1 and h.valid_from <= $2 and h.valid_to > $2
