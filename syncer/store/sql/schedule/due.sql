-- Accounts whose turn it is, longest waiting first: those that are due, and those whose worker took
-- them ($1 seconds ago or more) and has no run at work. Not those that wait in the queue already.
select s.account
from syncer_store.account_schedule as s
where syncer_store.is_due(s, $1)
  and not exists (
      select from syncer_queue.procrastinate_jobs as j
      where j.queueing_lock = s.account and j.status = 'todo')
order by s.due_at, s.account
