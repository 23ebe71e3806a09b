-- Baselines are saved one at a time: a lock taken before the transaction's snapshot.
lock table syncer_store.baselines in share row exclusive mode
