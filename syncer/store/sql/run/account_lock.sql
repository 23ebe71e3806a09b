-- Held while a run begins or ends: no transaction of any run of the account is under way then.
select account from syncer_store.accounts where account = $1 for update
