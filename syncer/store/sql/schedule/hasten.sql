-- Let accounts be due now.
update syncer_store.account_schedule set due_at = now() where account = any ($1) and due_at > now()
