-- Mark the open transaction by a lock that nobody else has.
select pg_advisory_xact_lock($1)
