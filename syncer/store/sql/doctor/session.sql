-- A session that only reads, and waits for nothing longer than $1 milliseconds.
select set_config('statement_timeout', $1, false),
       set_config('default_transaction_read_only', 'on', false)
