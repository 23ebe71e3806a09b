-- What workers, which are syncer_writer, need of the queue, if it is there.
do $$
begin
    if to_regclass('syncer_queue.applied') is not null
       and exists (select from pg_roles where rolname = 'syncer_writer') then
        grant usage on schema syncer_queue to syncer_writer;
        grant select, insert, update, delete on all tables in schema syncer_queue to syncer_writer;
        revoke insert, update, delete on syncer_queue.applied from syncer_writer;
        grant usage on all sequences in schema syncer_queue to syncer_writer;
        grant execute on all functions in schema syncer_queue to syncer_writer;
    end if;
end $$
