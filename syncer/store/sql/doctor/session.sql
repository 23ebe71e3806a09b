-- A session that looks only, and waits for nothing longer than so many milliseconds ($1).
select set_config('statement_timeout', $1, false),
       set_config('default_transaction_read_only', 'on', false)
