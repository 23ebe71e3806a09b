-- An instant of the database's clock: a time, an age before now, or the end of a run.
select case when $1::timestamptz is not null then $1
            when $2::interval is not null then now() - $2
            else (select finished_at from syncer.runs where run_id = $3) end as moment,
       (select account from syncer.runs where run_id = $3) as account
