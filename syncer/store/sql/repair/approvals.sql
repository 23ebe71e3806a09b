-- Approvals.
update syncer_store.approvals as a
set approved_at = syncer_store.repaired_stamp($1, $2, a.approved_at),
    decided_at = syncer_store.repaired_stamp($1, $2, a.decided_at)
from syncer_store.zones as z
where z.zone_key = a.zone_key and z.account = $1 and greatest(a.approved_at, a.decided_at) > $2
