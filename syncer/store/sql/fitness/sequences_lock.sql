-- While sequences are moved nobody is given an id by them.
lock table syncer_store.runs, syncer_store.zones, syncer_store.approvals, syncer_store.baselines
    in share row exclusive mode
