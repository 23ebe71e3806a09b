-- The same, where nobody is in the way.
select account from syncer_store.accounts where account = $1 for update nowait
