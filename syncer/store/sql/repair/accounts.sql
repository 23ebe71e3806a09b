-- The accounts that have a stamp later than $1, by name; if not null, of $2 only.
select distinct account from syncer_store.stamps
where at > $1 and ($2::text[] is null or account = any ($2))
order by account
