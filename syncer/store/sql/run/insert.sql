-- The row of a run that begins. Its stamps begin after every stamp of the account ($2), whatever
-- the clock says; it may be at work until its deadline ($3 from now, by the clock).
insert into syncer_store.runs (
    account, started_at, clock_at, deadline_at, syncer_version, selection)
select $1, greatest(clock, $2::timestamptz + interval '1 microsecond'), clock,
       clock + $3::interval, $4, $5
from (select clock_timestamp() as clock) as now
returning run_id, started_at, clock_at
