-- Held by every writing transaction of a run; a statement of its own, so that the check that
-- follows has a snapshot taken after the lock.
select pg_backend_pid() from syncer_store.accounts where account = $1 for share
