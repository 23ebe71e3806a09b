-- Thin the scans of a zone up to run $2: of those in a row that came to the same, on one day (UTC),
-- the first and the last stay, of the others their times. What changed something always stays.
-- $3 are looked at, oldest first, after run $5; if $4, nothing is thinned.
with part as materialized (
    select ctid as place, run_id, observed_at, finished_at,
           row_number() over (order by run_id) as number,
           array[status, error_code, listed::text, images::text, withheld::text, rejected::text,
                 (observed_at at time zone 'UTC')::date::text] as outcome,
           (appeared, changed, removed, returned, last_change) = (0, 0, 0, 0, 0) as same
    from syncer_store.zone_scans
    where zone_key = $1 and run_id > $5 and run_id <= $2
    order by run_id
    limit $3
), stretched as (
    select *, number - row_number() over (partition by outcome order by run_id) as stretch
    from part
    where same
), placed as materialized (
    select *, first_value(run_id) over stretches as first, last_value(run_id) over stretches as last
    from stretched
    window stretches as (partition by outcome, stretch order by run_id
                         rows between unbounded preceding and unbounded following)
), inner_ones as materialized (
    select * from placed where run_id > first and run_id < last
), times as (
    insert into syncer_store.stretches (zone_key, run_id, run_ids, observed, finished)
    select $1, first, array_agg(run_id order by run_id), array_agg(observed_at order by run_id),
           array_agg(finished_at order by run_id)
    from inner_ones
    where not $4::boolean
    group by first
), gone as (
    delete from syncer_store.zone_scans
    where not $4::boolean and ctid = any (array(select place from inner_ones))
), marked as (
    insert into syncer_store.retention (zone_key, thinned_to)
    select $1, max(run_id) from part where not $4::boolean having count(*) > 0
    on conflict (zone_key) do update set thinned_to = excluded.thinned_to
)
select (select count(*) from inner_ones) as rows,
       case when count(*) = $3 then max(run_id) end as run_id
from part
