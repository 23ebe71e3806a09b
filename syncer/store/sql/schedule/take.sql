-- Take an account ($1) for a worker ($2) if it is still its turn; of several that try, one does.
update syncer_store.account_schedule as s
set taken = s.taken + 1, worker = $2, started_at = clock_timestamp()
where s.account = $1 and syncer_store.is_due(s, $3)
returning s.taken, s.failures, extract(epoch from s.every)::double precision as every,
          extract(epoch from clock_timestamp())::double precision as clock,
          s.pruned_at is null or s.pruned_at <= clock_timestamp() - interval '1 day'
              or s.pruned_at > clock_timestamp() as prune_due
