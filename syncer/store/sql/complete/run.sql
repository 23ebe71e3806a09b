-- The newest runs whose number begins so, and what to say of each.
select run_id::text as name,
       concat_ws(' ', to_char(started_at, 'YYYY-MM-DD HH24:MI"Z"'), status, account) as text
from syncer.runs
where starts_with(run_id::text, $1)
order by run_id desc
limit 20
