-- Whether runs of more than one account are stored.
select coalesce(min(account) <> max(account), false) as several from syncer.runs
