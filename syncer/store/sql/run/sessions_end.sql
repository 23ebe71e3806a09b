-- End sessions of a run, which are called after it: all, or those among the given process ids.
select pg_terminate_backend(pid)
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
  and starts_with(application_name, $1) and ($2::integer[] is null or pid = any ($2))
