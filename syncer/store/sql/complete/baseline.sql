-- Baselines whose name begins so, and what to say of each.
select name, to_char(as_of, 'YYYY-MM-DD HH24:MI"Z"') as text
from syncer.baselines
where starts_with(name, $1)
order by name
limit 500
