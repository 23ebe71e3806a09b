-- Scans that came to the same.
update syncer_store.stretches as s
set observed = array(
        select syncer_store.repaired_stamp($1, $2, t.at)
        from unnest(s.observed) with ordinality as t (at, place) order by t.place),
    finished = array(
        select syncer_store.repaired_stamp($1, $2, t.at)
        from unnest(s.finished) with ordinality as t (at, place) order by t.place)
from syncer_store.zones as z
where z.zone_key = s.zone_key and z.account = $1
  and $2::timestamptz < any (s.observed || s.finished)
