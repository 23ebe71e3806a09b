-- A person says that a zone is gone: from $2 on what is known of it is unknown.
with retired as (
    insert into syncer_store.retirements (zone_key, retired_at, retired_by)
    select $1, $2, $3
    where not exists (
        select from syncer_store.retirements where zone_key = $1 and ended_at is null)
    returning zone_key
)
update syncer_store.zones
set gone_at = coalesce(gone_at, $2::timestamptz), asked_when_gone = true,
    newest_at = greatest(newest_at, $2::timestamptz)
where zone_key = $1
returning (select count(*) from retired) > 0 as retired
