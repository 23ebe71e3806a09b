-- The removals that the pending approval of a zone still allows; locked, so that what is decided is
-- what was read.
select max_removals - removed
from syncer_store.approvals
where zone_key = $1 and outcome is null and of_run_id is null
for update
