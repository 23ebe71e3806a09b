-- The process that answers, and what is set in its session.
select pg_backend_pid() as pid, current_setting('syncer.session', true) as mark
