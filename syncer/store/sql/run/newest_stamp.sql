-- The clock, and the newest stamp of an account.
select clock_timestamp() as clock, syncer_store.newest_stamp($1) as newest
