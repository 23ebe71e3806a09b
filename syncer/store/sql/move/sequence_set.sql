-- Let a sequence ($1) go on after the last number that was given out ($3; null: begin at $2).
select setval($1::text::regclass, coalesce($3::bigint, $2::bigint), $3 is not null)
