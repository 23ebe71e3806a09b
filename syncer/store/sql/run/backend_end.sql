-- End the backend of a run that is past its deadline.
select pg_terminate_backend($1)
