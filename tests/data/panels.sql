-- A night by hand, twelve hours of it: what each panel says of it stands in tests/deploy/test_panels.py.
-- Hour 0 begins eleven hours ago; the runs of account a begin two hours before, one an hour, and each
-- zone is looked at in minute 1 of them. Account b never had a run that read anything.
create function pg_temp.h(hour double precision, minute double precision default 0)
returns timestamptz language sql stable
return date_trunc('hour', now() - interval '5 min') - interval '11 h' + hour * interval '1 h'
    + minute * interval '1 min';

insert into syncer_store.zones (account, service, zone_id, first_seen_at, gone_at, present,
                                first_run_id)
values ('a', 'vm', 'FRA-A', pg_temp.h(-2), null, 3, 1), -- all is well
       ('a', 'vm', 'HKG-A', pg_temp.h(-2), pg_temp.h(4, 1), 1, 1), -- gone since hour 4
       ('a', 'vm', 'SIN-A', pg_temp.h(-2), null, 4, 1), -- withholds from hour 8, fails in hour 11
       ('a', 'vm', 'LAX-A', pg_temp.h(-2), null, 1, 1), -- fails from hour 6
       ('a', 'zec', 'tyo-1', pg_temp.h(-2), null, 1, 1); -- not tried in hours 2 to 4, fails in hour 11

-- Runs 1 to 14 of a; run 10 (hour 7) crashed. Changes 1 to 10 are the first look's.
insert into syncer_store.runs (account, started_at, clock_at, finished_at, deadline_at, status,
    syncer_version, zones, zones_unchanged, zones_failed, zones_guarded, zones_gone, calls, retries,
    change_base, changes)
select 'a', pg_temp.h(hour), pg_temp.h(hour), pg_temp.h(hour, case hour when 7 then 60 else 2 end),
       pg_temp.h(hour, 15), case when hour = 7 then 'crashed' when hour < 6 then 'succeeded'
                                 else 'partial' end, '',
       zones, whole, failed, guarded, gone, case hour when 6 then 24 when 7 then 0 else 12 end,
       case hour when 6 then 6 else 0 end,
       10 + sum(changes) over (order by hour) - changes - case hour when -2 then 10 else 0 end,
       changes + case hour when -2 then 10 else 0 end
from (values (-2, 5, 5, 0, 0, 0, 0), (-1, 5, 5, 0, 0, 0, 0), (0, 5, 5, 0, 0, 0, 0),
             (1, 5, 5, 0, 0, 0, 1), (2, 4, 4, 0, 0, 0, 1), (3, 4, 4, 0, 0, 0, 1),
             (4, 4, 3, 0, 0, 1, 0), (5, 4, 4, 0, 0, 0, 1), (6, 4, 3, 1, 0, 0, 2),
             (7, 0, 0, 0, 0, 0, 0), (8, 4, 2, 1, 1, 0, 0), (9, 4, 2, 1, 1, 0, 0),
             (10, 4, 2, 1, 1, 0, 0), (11, 4, 1, 3, 0, 0, 0))
    as r (hour, zones, whole, failed, guarded, gone, changes)
order by hour;
insert into syncer_store.runs (account, started_at, clock_at, finished_at, deadline_at, status,
    syncer_version, calls, error_code, error_message, change_base)
select 'b', pg_temp.h(hour), pg_temp.h(hour), pg_temp.h(hour, 1), pg_temp.h(hour, 15), 'failed', '', 2,
       'DENIED', 'wrong key', 16
from generate_series(9, 11) as hour; -- 15 to 17

insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at, status,
                                     listed, images, withheld, error_code, error_message)
select z.zone_key, hour + 3, pg_temp.h(hour, 1), pg_temp.h(hour, 1), pg_temp.h(hour, 1.5), l.status,
       true, images, withheld, error,
       case error when 'HTTP_503' then 'no answer' when 'NO_ZONE' then 'not offered' end
from (values
    ('FRA-A', 3, 0, array['unchanged', 'unchanged', 'unchanged', 'unchanged', null, 'changed',
                          'unchanged', 'changed', 'changed', null, 'unchanged', null, 'unchanged',
                          'unchanged']),
    ('FRA-A', 2, 0, array[null, null, null, null, 'changed']),
    ('HKG-A', 1, 0, array['changed', 'unchanged', 'unchanged', 'unchanged', 'unchanged', 'unchanged',
                          'gone']),
    ('SIN-A', 4, 0, array['changed', 'unchanged', 'unchanged', null, 'unchanged', 'unchanged',
                          'unchanged', 'unchanged', 'unchanged']),
    ('SIN-A', 3, 0, array[null, null, null, 'unchanged']),
    ('SIN-A', 2, 2, array[null, null, null, null, null, null, null, null, null, null, 'guarded',
                          'guarded', 'guarded']),
    ('SIN-A', 0, 0, array[null, null, null, null, null, null, null, null, null, null, null, null, null,
                          'failed']),
    ('LAX-A', 1, 0, array['changed', 'unchanged', 'unchanged', 'changed', 'unchanged', 'unchanged',
                          'unchanged', 'unchanged']),
    ('LAX-A', 0, 0, array[null, null, null, null, null, null, null, null, 'failed', null, 'failed',
                          null, 'failed', 'failed']),
    ('tyo-1', 1, 0, array['changed', 'unchanged', 'unchanged', 'unchanged', null, null, null,
                          'unchanged', 'unchanged', null, 'unchanged', 'unchanged', 'unchanged']),
    ('tyo-1', 0, 0, array[null, null, null, null, null, null, null, null, null, null, null, null, null,
                          'failed']))
    as s (zone_id, images, withheld, statuses)
join syncer_store.zones as z using (zone_id)
cross join lateral unnest(statuses) with ordinality as l (status, number)
cross join lateral (
    select number::integer - 3 as hour, case status when 'failed' then 'HTTP_503' when 'gone' then 'NO_ZONE' end
           as error) as e
where status is not null;
-- What prune leaves of hour 9, where nothing but that came of them
insert into syncer_store.stretches
select zone_key, 11, array[12], array[pg_temp.h(9, 1)], array[pg_temp.h(9, 1.5)]
from syncer_store.zones where zone_id in ('FRA-A', 'LAX-A');
insert into syncer_store.retention (zone_key, kept_from)
select zone_key, pg_temp.h(-3) from syncer_store.zones where zone_id = 'FRA-A';

-- id, zone, name, category, version, status, from (hour), how, fields, removed (hour), place in the run
create temp table life (image_id, zone_id, image_name, category, version, status, since, kind, fields,
                        until, removed, ordinal) as
values ('i1', 'FRA-A', 'Ubuntu 22.04', 'Ubuntu', '1', 'AVAILABLE', -2, 'appeared', '', 5, false, 1),
       ('i1', 'FRA-A', 'Ubuntu 22.04', 'Ubuntu', '2', 'AVAILABLE', 5, 'changed', 'image_version', null, false, 1),
       ('i2', 'FRA-A', 'Debian 12', 'Debian', '12', 'AVAILABLE', -2, 'appeared', '', 6, true, 2),
       ('i3', 'FRA-A', 'Rocky 9', 'Rocky', '9', 'AVAILABLE', -2, 'appeared', '', 2, true, 3),
       ('i3', 'FRA-A', 'Rocky 9', 'Rocky', '9', 'AVAILABLE', 3, 'returned', 'image_description', null, false, 1),
       ('i4', 'FRA-A', 'Debian 12', 'Debian', '12', 'AVAILABLE', 6, 'appeared', '', null, false, 1),
       ('i5', 'HKG-A', 'Ubuntu 22.04', 'Ubuntu', '2', 'AVAILABLE', -2, 'appeared', '', null, false, 4),
       ('i6', 'SIN-A', 'Old 1', 'Debian', '1', 'AVAILABLE', -2, 'appeared', '', null, false, 5),
       ('i7', 'SIN-A', 'Old 2', 'Debian', '1', 'AVAILABLE', -2, 'appeared', '', null, false, 6),
       ('i8', 'SIN-A', 'Ubuntu 22.04', 'Ubuntu', '2', 'AVAILABLE', -2, 'appeared', '', null, false, 7),
       ('i9', 'SIN-A', 'Rocky 9', 'Rocky', '9', 'AVAILABLE', -2, 'appeared', '', null, false, 8),
       ('i10', 'LAX-A', 'Ubuntu 22.04', 'Ubuntu', '2', 'AVAILABLE', -2, 'appeared', '', 1, false, 9),
       ('i10', 'LAX-A', 'Ubuntu 22.04', 'Ubuntu', '2', 'UNAVAILABLE', 1, 'changed', 'image_status', null, false, 1),
       ('i11', 'tyo-1', 'O''Brien''s own', 'Rocky', '9', 'AVAILABLE', -2, 'appeared', '', null, false, 10);
insert into syncer_store.images (zone_key, image_id, image_name, category, image_size,
    image_description, image_version, image_status, fingerprint, first_seen_at, valid_from, opened_kind,
    opened_run_id, opened_ordinal, opened_not_before, changed_fields, removed_at, removed_run_id,
    removed_ordinal, removed_not_before)
select zone_key, image_id, image_name, category, '30', case kind when 'returned' then 'new' else 'as it was' end,
       version, status, '', pg_temp.h(case image_id when 'i4' then 6 else -2 end, 1), pg_temp.h(since, 1),
       kind::syncer_store.opening, since + 3, ordinal,
       case when since > -2 then pg_temp.h(since - 1, 1) end,
       case when fields <> '' then array[fields] end, pg_temp.h(until, 1),
       case when removed then until + 3 end, case when removed then 2 end,
       case when removed then pg_temp.h(until - 1, 1) end
from life join syncer_store.zones using (zone_id) where until is null or image_id = 'i2';
insert into syncer_store.image_history (zone_key, image_id, image_name, category, image_size,
    image_description, image_version, image_status, valid_from, valid_to, opened_kind, opened_run_id,
    opened_ordinal, opened_not_before, changed_fields, removed_run_id, removed_ordinal, removed_not_before)
select zone_key, image_id, image_name, category, '30', 'as it was', version, status,
       pg_temp.h(since, 1), pg_temp.h(until, 1), kind::syncer_store.opening, since + 3, ordinal,
       case when since > -2 then pg_temp.h(since - 1, 1) end,
       case when fields <> '' then array[fields] end, case when removed then until + 3 end,
       case when removed then 1 end, case when removed then pg_temp.h(until - 1, 1) end
from life join syncer_store.zones using (zone_id) where until is not null and image_id <> 'i2';
update syncer_store.feed set last_change_id = 16;

insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id, last_listed_at,
                                  last_run_id, judged_run_id, rule, withheld_since)
select zone_key, image_id, pg_temp.h(8, 1.5), 11, pg_temp.h(6, 1), 11, 11, 'turned_over', pg_temp.h(8, 1.5)
from syncer_store.images join syncer_store.zones using (zone_key) where image_id in ('i6', 'i7');
insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by, ended_run_id,
                                     seen_at, last_listed_at)
select zone_key, image_id, pg_temp.h(1, 1.5), pg_temp.h(2, 1.5), 'seen', 5, pg_temp.h(2, 1), pg_temp.h(0, 1)
from syncer_store.images where image_id = 'i9';
insert into syncer_store.approvals (zone_key, max_removals, approved_by, approved_at, outcome, decided_at,
                                    run_id, candidates, removed)
select zone_key, 2, 'ann', pg_temp.h(5, 30), 'applied', pg_temp.h(6, 1), 9, 1, 1
from syncer_store.zones where zone_id = 'FRA-A';
insert into syncer_store.approvals (zone_key, max_removals, approved_by, approved_at)
select zone_key, 5, 'bob', pg_temp.h(9, 30) from syncer_store.zones where zone_id = 'SIN-A';
insert into syncer_store.rate_limits (account, rate, run_id, learnt_at) values ('a', 7.5, 9, pg_temp.h(6, 1));

with b as (
    insert into syncer_store.baselines (name, as_of, saved_by) values ('golden', pg_temp.h(0), 'ann')
    returning baseline_id)
insert into syncer_store.baseline_images (baseline_id, zone_key, image_id, image_name, image_size,
    image_description, image_version, image_status, category)
select baseline_id, zone_key, image_id, image_name, case image_id when 'i8' then '3e1' else '30' end,
       'as it was', case image_id when 'i1' then '1' else image_version end, image_status, category
from b, syncer_store.images where image_id in ('i1', 'i2', 'i5', 'i6', 'i8');
insert into syncer_store.workers (worker, host, pid, syncer_version, accounts, at_once, seen_at)
values ('host.1', 'host', 1, '0.1.0', '{a,b}', 4, now()),
       ('host.2', 'host', 2, '0.1.0', '{a}', 4, now() - interval '5 min');
insert into syncer_store.account_schedule (account, every, due_at)
values ('b', '15m', now() + interval '5 min'), ('c', '15m', now() - interval '2 h');
