-- Keep what a whole look read, in digests. Of rows that are kept already only what differs is written
-- ($12), if it is of the look whose pages are $13 (null: the rows are $10).
insert into syncer_store.zone_digests as d (
    zone_key, parser, asked, total, images, pages, content, hash, unordered, rows,
    names, amended)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null)
on conflict (zone_key) do update
set parser = excluded.parser, asked = excluded.asked, total = excluded.total,
    images = excluded.images, pages = excluded.pages, content = excluded.content,
    hash = excluded.hash, unordered = excluded.unordered, names = excluded.names,
    rows = case when d.pages = $13 then d.rows else excluded.rows end,
    amended = case when d.pages = $13 then $12::bytea end
