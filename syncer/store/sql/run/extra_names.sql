-- Untracked names that a service has sent before.
select name from syncer_store.extra_names where account = $1 and service = $2
