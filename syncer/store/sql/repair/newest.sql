-- The newest stamp of an account that is not later than $2.
select max(at) from syncer_store.stamps where account = $1 and at <= $2
