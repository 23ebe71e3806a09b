-- Delete runs of an account that began before $2 and that nothing kept refers to: no scan, no
-- change, no approval. The newest run ($6) stays, and the one that holds the head of the feed.
-- $3 are looked at, oldest first, after run $5; if $4, nothing is deleted. $7 to $9 are the
-- account's zones: what of theirs goes in the same prune refers to nothing.
with zone as materialized (
    select * from unnest($7::integer[], $8::timestamptz[], $9::bigint[])
        as t (zone_key, kept_from, first_run)
), part as materialized (
    select ctid as place, run_id, changes
    from syncer_store.runs
    where account = $1 and run_id > $5 and run_id < $6 and started_at < $2 and status <> 'running'
    order by run_id
    limit $3
), changing as materialized (
    select run_id from part where changes > 0
), needed as materialized (
    select s.run_id
    from zone
    cross join lateral (
        select run_id from syncer_store.zone_scans as s
        where s.zone_key = zone.zone_key
          and s.run_id >= greatest(zone.first_run, (select min(run_id) from part))
          and s.run_id <= (select max(run_id) from part)
        offset 0) as s
    union all
    select run_id from syncer_store.approvals where run_id in (select run_id from part)
    union all
    select i.opened_run_id from syncer_store.images as i join zone using (zone_key)
    where i.opened_run_id in (select run_id from changing)
    union all
    select i.removed_run_id from syncer_store.images as i join zone using (zone_key)
    where i.removed_run_id in (select run_id from changing)
    union all
    select referring.run_id
    from (
        select zone_key, image_id, valid_from, opened_run_id as run_id
        from syncer_store.image_history where opened_run_id in (select run_id from changing)
        union all
        select zone_key, image_id, valid_from, removed_run_id
        from syncer_store.image_history where removed_run_id in (select run_id from changing)
    ) as referring
    join zone using (zone_key)
    left join lateral (
        select image_id, valid_from from syncer_store.image_history as h
        where h.zone_key = referring.zone_key
          and (h.image_id, h.valid_from) > (referring.image_id, referring.valid_from)
        order by h.image_id, h.valid_from limit 1) as next on true
    where (next.image_id = referring.image_id and next.valid_from <= zone.kept_from) is not true
), old as materialized (
    select place from part
    where not exists (select from needed where needed.run_id = part.run_id)
      and run_id <> (
          select run_id from syncer_store.runs
          where change_base is not null
          order by change_base desc, changes desc limit 1)
), gone as (
    delete from syncer_store.runs
    where not $4::boolean and ctid = any (array(select place from old))
)
select (select count(*) from old) as rows,
       case when count(*) = $3 then max(run_id) end as run_id
from part
