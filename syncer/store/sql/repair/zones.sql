-- Zones.
update syncer_store.zones as z
set first_seen_at = syncer_store.repaired_stamp($1, $2, z.first_seen_at),
    gone_at = syncer_store.repaired_stamp($1, $2, z.gone_at),
    newest_at = syncer_store.repaired_stamp($1, $2, z.newest_at)
where z.account = $1 and greatest(z.first_seen_at, z.gone_at, z.newest_at) > $2
