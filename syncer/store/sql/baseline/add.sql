-- A new baseline; no row where the name is taken.
insert into syncer_store.baselines (name, as_of, saved_by, filters)
values ($1, $2, $3, $4)
on conflict (name) do nothing
returning baseline_id
