-- Whether there is a schema of the queue.
select to_regclass('syncer_queue.applied') is not null
