-- The last change of the feed: every change up to it is there to be read.
select coalesce(max(last_change_id), 0) as change_id from syncer.runs
