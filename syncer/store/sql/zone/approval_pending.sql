-- The pending approval of a zone; locked, so that what is decided is what was read.
select max_removals
from syncer_store.approvals
where zone_key = $1 and outcome is null
for update
