-- Delete the closed versions of a zone's images that no answer about the kept time ($2) needs: all
-- but the last that began before it, which may reach into it and is the state before the next one.
-- $3 are looked at, oldest first, after the one at ($5, $6); if $4, nothing is deleted.
with part as materialized (
    select place, image_id, valid_from, row_number() over versions as number,
           lead(image_id) over versions = image_id and lead(valid_from) over versions <= $2 as old
    from (
        select ctid as place, image_id, valid_from
        from syncer_store.image_history
        where zone_key = $1 and (image_id, valid_from) > ($5, $6)
        order by image_id, valid_from
        limit $3 + 1) as h
    window versions as (order by image_id, valid_from)
), gone as (
    delete from syncer_store.image_history
    where not $4::boolean
      and ctid = any (array(select place from part where old and number <= $3))
)
select (select count(*) from part where old and number <= $3) as rows, last.image_id,
       last.valid_from
from (select count(*) as looked_at from part) as done
left join part as last on last.number = $3 and done.looked_at > $3
