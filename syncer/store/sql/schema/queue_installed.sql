-- The migrations of the queue's own schema that were applied.
select name from syncer_queue.applied
