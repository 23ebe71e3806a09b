-- Baselines, as `syncer baseline list` shows them.
select name, as_of, saved_at, saved_by, filters, images
from syncer.baselines
order by name
