-- By how much the clock is behind the newest stamp of an account (negative: it is not).
select syncer_store.newest_stamp($1) - clock_timestamp()
