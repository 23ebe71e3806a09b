-- Whose session this is, for pg_stat_activity.
select set_config('application_name', $1, false)
