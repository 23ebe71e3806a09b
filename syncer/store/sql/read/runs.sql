-- Runs, newest first, as `syncer runs` shows them.
select run_id, account, started_at, finished_at, deadline_at, status, zones, zones_unchanged,
       zones_changed, zones_incomplete, zones_failed, zones_guarded, zones_gone, pages, images,
       appeared, changed, removed, returned, withheld, rejected, rereads, calls, retries,
       error_code, error_message, selection, syncer_version, zones_unlisted, zones_lost
from syncer.runs
where $1::text[] is null or account = any ($1)
order by run_id desc
limit $2
