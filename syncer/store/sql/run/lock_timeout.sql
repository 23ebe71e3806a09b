-- Nothing waits for ever for an older run's transaction.
set local lock_timeout = '30s'
