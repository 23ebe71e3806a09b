-- Whether the roles of the program were made.
select count(*) = 2 from pg_roles where rolname in ('syncer_writer', 'syncer_reader')
