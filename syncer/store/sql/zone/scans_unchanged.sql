-- Record at $3 whole looks that read what is stored, many at a time. As JSON: for arrays of numbers the
-- driver would look their types up first, which takes longer than all of this. Its commit waits for
-- no disk: that of the run's end does, and holds all that came before it.
insert into syncer_store.zone_scans (
    zone_key, run_id, started_at, observed_at, finished_at, status, listed, pages, images, rereads)
select zone_key, $1, started, observed, $3::timestamptz, 'unchanged', listed, pages, images, rereads
from json_to_recordset($2::json) as t (
    zone_key integer, started timestamptz, observed timestamptz, listed boolean,
    pages integer, images integer, rereads integer)
cross join set_config('synchronous_commit', 'off', true)
