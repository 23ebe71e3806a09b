-- Let a sequence go on after a number that is in use.
select setval($1::text::regclass, $2)
