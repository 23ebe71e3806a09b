-- Note migrations of the queue's own schema ($1) as applied.
insert into syncer_queue.applied (name) select unnest($1::text[]) on conflict do nothing
