-- Held while a run begins: no zone transaction of an older run is under way then.
select pg_advisory_xact_lock($1)
