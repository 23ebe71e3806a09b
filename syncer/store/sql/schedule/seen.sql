-- Say that a worker is there, and whose credentials it has.
insert into syncer_store.workers as w
    (worker, host, pid, syncer_version, accounts, at_once, draining)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (worker) do update
set seen_at = clock_timestamp(), draining = excluded.draining, at_once = excluded.at_once
