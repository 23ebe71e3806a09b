-- Take an advisory lock whose key was drawn at random, for as long as this session lasts.
select pg_try_advisory_lock($1)
