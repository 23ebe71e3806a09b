-- Record an approval: who, when, and at most how many removals.
insert into syncer_store.approvals (zone_key, max_removals, approved_by)
values ($1, $2, $3)
returning approval_id, approved_at
