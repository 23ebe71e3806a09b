-- Changes that are about to be deleted: those of the account's runs that began before $2.
update syncer_store.feed
set pruned_to = greatest(pruned_to, (
    select max(change_base + changes) from syncer_store.runs
    where account = $1 and started_at <= $2 and change_base is not null))
