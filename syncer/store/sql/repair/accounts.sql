-- The accounts that have a stamp later than $1, by name.
select distinct account from syncer_store.stamps where at > $1 order by account
