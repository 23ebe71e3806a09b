-- The names of the baselines there are.
select name
from syncer.baselines
order by name
