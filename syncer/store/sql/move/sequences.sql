-- The sequences of the store: the last number that each gave out (null: none yet).
select s.schemaname || '.' || quote_ident(s.sequencename) as name, s.start_value, s.last_value
from pg_sequences as s
where s.schemaname = 'syncer_store'
order by s.sequencename collate "C"
