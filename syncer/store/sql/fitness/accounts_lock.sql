-- Whoever writes locks the row of an account before anything else: now nobody has begun to, so that
-- tables can be locked in any order.
lock table syncer_store.accounts in exclusive mode
