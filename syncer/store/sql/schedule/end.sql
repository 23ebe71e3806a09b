-- Note how the turn of an account ended, and when it is due again (seconds since 1970), unless it
-- was given to another meanwhile.
update syncer_store.account_schedule
set ended = taken, ended_at = clock_timestamp(), due_at = to_timestamp($3), failures = $4,
    result = $5
where account = $1 and taken = $2
