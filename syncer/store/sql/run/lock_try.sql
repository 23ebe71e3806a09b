-- A lock for the session, of one who may do a thing alone.
select pg_try_advisory_lock($1)
