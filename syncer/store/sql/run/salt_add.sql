-- One salt a database, so that no hash is the same elsewhere.
insert into syncer_store.salt (salt)
values ($1)
on conflict do nothing
