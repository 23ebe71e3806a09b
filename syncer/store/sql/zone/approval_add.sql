-- Record an approval: at most how many removals, who and when.
insert into syncer_store.approvals (zone_key, max_removals, approved_by, approved_at)
values ($1, $2, $3, $4::timestamptz)
returning approval_id, approved_at
