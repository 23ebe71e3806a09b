-- Keep what a whole look read, in digests.
insert into syncer_store.zone_digests (
    zone_key, parser, asked, total, images, pages, content, hash, unordered, rows,
    names)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (zone_key) do update
set parser = excluded.parser, asked = excluded.asked, total = excluded.total,
    images = excluded.images, pages = excluded.pages, content = excluded.content,
    hash = excluded.hash, unordered = excluded.unordered, rows = excluded.rows,
    names = excluded.names
