-- The last change of the feed, up to which every change is there to be read; and the last of those
-- that may have been deleted.
select last_change_id as change_id, pruned_to from syncer.feed
