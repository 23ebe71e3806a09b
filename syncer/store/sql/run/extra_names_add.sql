-- Record untracked names that a service sent for the first time.
insert into syncer_store.extra_names (account, service, name, run_id)
select $1, $2, t.name, $4 from unnest($3::text[]) as t (name)
on conflict do nothing
