-- An instant: a time, an age before now, or the end of a run. Now is by the database's clock, or the
-- newest stamp where the clock has stepped back behind it.
select case when $1::timestamptz is not null then $1
            when $2::interval is not null then greatest(now(), (
                select greatest(started_at, finished_at) from syncer.runs
                order by started_at desc limit 1)) - $2
            else (select finished_at from syncer.runs where run_id = $3) end as moment,
       (select account from syncer.runs where run_id = $3) as account
