-- Approvals of a run's removals in a zone where nothing of them is missing any more.
update syncer_store.approvals as a
set outcome = case when g.removed > 0 then 'applied' else 'not_needed' end,
    decided_at = $3::timestamptz, run_id = $2, candidates = g.removed, removed = g.removed
from (
    select p.approval_id, (
        select count(*) from syncer_store.image_gaps as g
        where g.zone_key = p.zone_key and g.approval_id = p.approval_id and g.ended_by = 'removed'
    )::integer as removed
    from syncer_store.approvals as p
    where p.zone_key = $1 and p.outcome is null and p.of_run_id is not null
      and not exists (
          select from syncer_store.missing as m
          where m.zone_key = p.zone_key and m.approval_id = p.approval_id)
) as g
where a.approval_id = g.approval_id
