-- Delete jobs that nobody does any more: their worker was not seen for $1 seconds or is gone, and no
-- run of their account is at work.
delete from syncer_queue.procrastinate_jobs as j
where j.status = 'doing'
  and not exists (
      select from syncer_queue.procrastinate_workers as w
      where w.id = j.worker_id and abs(extract(epoch from now() - w.last_heartbeat)) <= $1)
  and not syncer_store.at_work(j.queueing_lock)
