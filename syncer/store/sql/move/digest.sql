-- How many rows a table has, and a hash of what is in them, whatever their order: the sum of 64 bits
-- of each row's SHA-256, twice over. Written for one table; another's name and columns take the place.
select count(*) as rows,
       coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint::numeric), 0)::text || '/'
           || coalesce(sum(('x' || right(hash, 16))::bit(64)::bigint::numeric), 0)::text as hash
from (
    select encode(sha256(convert_to(row(t.*)::text, 'UTF8')), 'hex') as hash
    from syncer_store.runs as t
) as h
