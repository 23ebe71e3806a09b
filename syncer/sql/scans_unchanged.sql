-- Record whole looks that read what is stored, many at a time.
insert into syncer_store.zone_scans (
    zone_key, run_id, started_at, observed_at, status, listed, pages, images, rereads)
select zone_key, $1, to_timestamp(started), to_timestamp(observed), 'unchanged', listed, pages,
       images, rereads
from unnest($2::integer[], $3::double precision[], $4::double precision[], $5::boolean[],
            $6::integer[], $7::integer[], $8::integer[])
    as t (zone_key, started, observed, listed, pages, images, rereads)
