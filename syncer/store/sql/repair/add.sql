-- Keep what stamps of an account are and what they are to be.
insert into syncer_store.clock_repairs (account, repaired_at, old_at, new_at, timed, repaired_by)
select $1, $2, m.old_at, m.new_at, m.timed, $3
from unnest($4::timestamptz[], $5::timestamptz[], $6::boolean[]) as m (old_at, new_at, timed)
