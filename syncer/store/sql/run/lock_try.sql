-- The session lock that keeps a second run of an account out.
select pg_try_advisory_lock($1)
