-- Runs are numbered for the change feed one at a time, in the order they commit.
select pg_advisory_xact_lock($1)
