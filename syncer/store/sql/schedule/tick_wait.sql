-- Wait for whoever hands out what is due right now.
select from syncer_store.ticks for update
