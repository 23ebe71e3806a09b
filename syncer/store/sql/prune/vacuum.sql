-- Free the room of what went. (Where autovacuum is at work, it is left to that.)
vacuum (analyze, skip_locked) syncer_store.image_history, syncer_store.zone_scans,
    syncer_store.stretches, syncer_store.runs
