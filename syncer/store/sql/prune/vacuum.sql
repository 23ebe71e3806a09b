-- Free the space of deleted rows, where no autovacuum does it.
vacuum (analyze, skip_locked) syncer_store.image_history, syncer_store.zone_scans,
    syncer_store.stretches, syncer_store.runs
