-- The clock, in seconds since 1970 too.
select clock_timestamp() as at, extract(epoch from clock_timestamp())::double precision as epoch
