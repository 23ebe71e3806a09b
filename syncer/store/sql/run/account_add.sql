-- The row of an account that was never seen before.
insert into syncer_store.accounts (account)
values ($1)
on conflict do nothing
