-- End a session ($2) if another ($1) still waits for it.
select pg_terminate_backend($2)
where $2 = any (pg_blocking_pids($1))
