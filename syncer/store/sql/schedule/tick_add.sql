-- Let there be a row to claim.
insert into syncer_store.ticks (ticked_at) values ('-infinity') on conflict do nothing
