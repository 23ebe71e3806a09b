-- Mark images that a whole look did not list and that are not removed: withheld by the guard
-- ($4 is withheld), or let pass and not confirmed. $3 is the last whole look that listed them.
with latest as (
    select i.image_id
    from syncer_store.images as i
    where i.zone_key = $1 and i.image_id = any ($2::text[]) and i.removed_at is null
      and (i.unlisted_after is null or (i.withheld_since is null) = ($4 = 'withheld'))
    order by i.image_id
    for update
)
update syncer_store.images as i
set unlisted_after = coalesce(i.unlisted_after, $3),
    withheld_since = case when $4 = 'withheld' then coalesce(i.withheld_since, now()) end
from latest as l
where i.zone_key = $1 and i.image_id = l.image_id
