-- A year of history, made by sets: select pg_temp.seed(60, 100000, 500000, 365, '15 min', now()).
-- Run it in an empty, migrated database; seed.py does, and says what is in it.
--
-- Two accounts, run by run, zone by zone, as the program would have written it: every version in
-- exactly one table, ordinals and change_base, the counts of scans, runs and zones. Everything is
-- drawn from hashes of numbers, so the same arguments give the same rows.

-- A number from 0 to 1 (not 1), drawn by a key.
create or replace function pg_temp.draw(key bigint, salt integer) returns double precision
language sql immutable parallel safe
return (hashint8extended(key, salt) & 9007199254740991)::double precision / 9007199254740992;

-- One of the parts 1..total into which a stretch is cut, drawn from the n-th of m equal shares:
-- rising with n, and never the same twice where m <= total.
create or replace function pg_temp.share(n bigint, m bigint, total bigint, drawn double precision)
returns bigint language sql immutable parallel safe
return 1 + (n - 1) * total / m
    + floor(drawn * greatest(n * total / m - (n - 1) * total / m, 1))::bigint;

create or replace function pg_temp.seed(
    zone_count integer, image_count integer, change_count integer, day_count integer,
    every interval, upto timestamptz
) returns void language plpgsql as $seed$
declare
    run_count constant integer := floor(extract(epoch from make_interval(days => day_count))
                                        / extract(epoch from every));
    name_count constant integer := greatest(1, round(image_count / zone_count / 0.96));
begin
    set local synchronize_seqscans to off;

    -- The zones. Those that end badly: one is gone, one fails, one is guarded, one is torn; they
    -- have no change in the ``spoilt`` runs at the end.
    create temp table seed_zones on commit drop as
    select n, account, service,
           case service
               when 'bmc' then '*'
               when 'vm' then airports[1 + (of_kind - 1) % 30] || '-' || chr(65 + (of_kind - 1) / 30)
               else regions[1 + (of_kind - 1) % 10] || chr(97 + (of_kind - 1) / 10)
           end as zone_id,
           case n when 2 then 'gone' when 3 then 'failed' when 4 then 'guarded'
                  when 6 then 'incomplete' end as ends,
           least(run_count / 4, case n when 2 then 3 * run_count / day_count when 3 then 7 * run_count / day_count / 24
                                  when 4 then 2 * run_count / day_count when 6 then 4
                                  else 0 end) as spoilt
    from (
        select n, account, service, (row_number() over (
                   partition by account, service order by n))::integer as of_kind
        from (
            select n, case when n % 5 = 0 then 'edge' else 'default' end as account,
                   case when n = 1 then 'bmc' when n % 10 > 6 then 'zec' else 'vm' end as service
            from generate_series(1, zone_count) as n) as z
    ) as z,
    (select string_to_array('FRA HKG SIN LAX SEL SAO SEA AMS LON PAR TYO SYD MEL BOM DEL DXB JED '
                            'RUH IST MOW ZRH MEX IAD MIA DFW ORD YYZ JNB TPE HAN', ' ') as airports,
            string_to_array('asia-east-1 asia-southwest-1 na-west-1 asia-north-1 asia-southeast-1 '
                            'asia-south-1 sa-north-1 europe-central-1 me-central-1 na-east-1', ' ')
                as regions) as words;
    insert into syncer_store.zones (account, service, zone_id, zone_name, attributes,
                                    first_seen_at)
    select account, service, zone_id, zone_id, jsonb_build_object('cityName', split_part(
               zone_id, '-', 1)), upto - run_count * every
    from seed_zones
    order by n;
    alter table seed_zones add zone_key integer;
    update seed_zones as s
    set zone_key = z.zone_key
    from syncer_store.zones as z
    where (z.account, z.service, z.zone_id) = (s.account, s.service, s.zone_id);
    analyze seed_zones;

    -- The runs, r = 1, 2, ... for each account; ``good`` numbers those in which a zone may change.
    create temp table seed_runs on commit drop as
    select nextval(pg_get_serial_sequence('syncer_store.runs', 'run_id')) as run_id, *
    from (
        select *, case when status is null then sum((status is null)::integer)
                      over (partition by account order by r) end as good
        from (
            select account, r,
                   upto - (run_count - r) * every - interval '6 min'
                       + (pg_temp.draw(r, a) * 30 + a) * interval '1 s' as started_at,
                   (20 + 40 * pg_temp.draw(r, 10 + a) ^ 4
                       + case when pg_temp.draw(r, 20 + a) < 0.004 then 300 else 0 end)
                       * interval '1 s' as took,
                   case when r < 3 or r > run_count - 3 then null
                        when pg_temp.draw(r, 30 + a) < 0.0015 then 'failed'
                        when pg_temp.draw(r, 40 + a) < 0.0010 then 'crashed' end as status
            from (values ('default', 1), ('edge', 2)) as accounts (account, a),
                 generate_series(1, run_count) as r
            where exists (select from seed_zones as z where z.account = accounts.account)
        ) as r
        order by r, account
    ) as r;
    create unique index on seed_runs (account, r);
    create unique index on seed_runs (account, good);
    analyze seed_runs;

    -- What came of each zone in each run, changes apart. Amended further down.
    create temp table seed_scans on commit drop as
    select z.zone_key, r.run_id, r.account, r.r, r.started_at
               + (0.3 + 0.7 * pg_temp.draw(z.n + r.run_id * 1000, 1)) * r.took * 0.8 as observed_at,
           r.started_at + r.took * 0.98 as removed_at,
           case when z.ends = 'gone' and r.r > run_count - z.spoilt then 'gone'
                when r.r > run_count - z.spoilt then z.ends
                when r.r < 3 or pg_temp.draw(z.n + r.run_id * 1000, 2) > 0.003 then 'unchanged'
                when pg_temp.draw(z.n + r.run_id * 1000, 3) < 0.6 then 'failed'
                else 'incomplete' end as status
    from seed_runs as r
    join seed_zones as z using (account)
    where r.status is null
       or r.status = 'crashed' and pg_temp.draw(z.n + r.run_id * 1000, 4) < 0.5;
    analyze seed_scans;

    -- The images: mostly offered in every zone of their service, some missing here and there,
    -- some (a customer's own) in a zone or two. What happens to one happens to its namesakes in
    -- other zones too (they have a ``fate`` in common), but for some that went their own way.
    create temp table seed_images on commit drop as
    select i, zone_key, fate, waves, late, image_id, name, size,
           case when late then 1 else 0 end + least(
               waves - 1,
               floor(-ln(1 - pg_temp.draw(fate, 1)) * (change_count::double precision / image_count
                                                       + 0.5)))::integer as events
    from (
        select row_number() over (order by z.n, j) as i, z.zone_key,
               case when pg_temp.draw(j, 9) < 0.15 and pg_temp.draw(z.n * 1000000 + j, 9) < 0.2
                    then z.n * 1000000 + j else - ascii(z.service) * 1000000 - j end::bigint
                   as fate,
               greatest(2, (run_count - z.spoilt) / 20) as waves,
               pg_temp.draw(z.n * 1000000 + j, 5) < 0.02 as late,
               'img-' || left(md5(z.n || ':' || j), 25) as image_id,
               (string_to_array('Ubuntu Debian CentOS Windows Rocky Fedora AlmaLinux FreeBSD', ' '))
                   [1 + j % 8] || ' ' || 1 + j / 8 % 24 || '.' || j / 192
                   || case when pg_temp.draw(j, 6) < 0.5 then ' x86 64-bit' else ' minimal' end
                   as name,
               20 + j % 4 * 10 as size
        from seed_zones as z, generate_series(0, name_count - 1) as j
        where pg_temp.draw(z.n * 1000000 + j, 7)
              >= case when pg_temp.draw(j, 8) < 0.86 then 0
                      when pg_temp.draw(j, 8) < 0.97 then 0.02
                      else 0.95 end
    ) as i;
    analyze seed_images;

    -- What happened to each: k = 0 is its appearance. A change falls into one of the waves of its
    -- zone, in good runs only. A removal is an even one, so that what follows it is a return.
    create temp table seed_events on commit drop as
    with drawn as (
        select i, zone_key, waves, k, case
                   when k = 0 and not late then 0
                   else pg_temp.share(case when late then k + 1 else k end, events, waves,
                                      pg_temp.draw(fate * 1000 + k, 10)) end as wave,
               case when k > 0 and k % 2 = 0 and pg_temp.draw(fate * 1000 + k, 11) < 0.1
                    then 'removed'
                    when k > 1 and k % 2 = 1 and pg_temp.draw(fate * 1000 + k - 1, 11) < 0.1
                    then 'returned'
                    when k = 0 then 'appeared' else 'changed' end as kind,
               pg_temp.draw(fate * 1000 + k, 12) as what
        from seed_images, generate_series(0, events - case when late then 1 else 0 end) as k
    ), good as (
        select z.zone_key, z.account, max(r.good) as last
        from seed_zones as z
        join seed_runs as r on r.account = z.account and r.r <= run_count - z.spoilt
        group by z.zone_key, z.account
    ), waves as (
        select zone_key, wave, r.run_id
        from (
            select g.*, s.waves, wave, case when wave = 0 then 1 else 1 + pg_temp.share(
                       wave, s.waves, g.last - 1,
                       pg_temp.draw(s.zone_key * 1000000::bigint + wave, 13)) end as good
            from good as g
            join (select distinct zone_key, waves from seed_images) as s using (zone_key)
            cross join generate_series(0, s.waves) as wave
        ) as w
        join seed_runs as r using (account, good)
    )
    select d.i, d.zone_key, d.k, d.kind, w.run_id,
           d.kind = 'changed' and d.what >= 0.97 as name,
           d.kind = 'changed' and d.what < 0.05 as status,
           d.kind = 'changed' and d.what between 0.05 and 0.70 as version,
           d.kind = 'changed' and d.what between 0.60 and 0.85 as description,
           d.kind = 'changed' and d.what between 0.85 and 0.97 as size
    from drawn as d
    join waves as w using (zone_key, wave);
    update seed_scans as s
    set status = 'changed'
    from (select distinct zone_key, run_id from seed_events) as e
    where (s.zone_key, s.run_id) = (e.zone_key, e.run_id);
    analyze seed_events, seed_scans;

    -- Each event with its moment, its number in its run, and the last whole look before it.
    create temp table seed_changes on commit drop as
    with looks as (
        select zone_key, run_id, account, observed_at, removed_at,
               max(observed_at) filter (where status in ('unchanged', 'changed', 'guarded')) over (
                   partition by zone_key order by run_id
                   rows between unbounded preceding and 1 preceding) as not_before
        from seed_scans
    )
    select e.i, e.k, e.kind, e.zone_key, e.run_id,
           case e.kind when 'removed' then l.removed_at
                else l.observed_at + interval '0.9 s' end as at,
           l.not_before,
           (row_number() over (
               partition by e.run_id order by e.kind = 'removed', e.zone_key, e.i))::integer
               as ordinal,
           sum(name::integer) over versions as names,
           sum(status::integer) over versions as statuses,
           sum(version::integer) over versions as image_versions,
           sum(description::integer) over versions as descriptions,
           sum(size::integer) over versions as sizes,
           case when e.kind <> 'appeared' then array_remove(array[
               case when name then 'image_name' end, case when size then 'image_size' end,
               case when description then 'image_description' end,
               case when version then 'image_version' end,
               case when status then 'image_status' end], null) end as changed_fields,
           lead(e.kind) over versions as next_kind
    from seed_events as e
    join looks as l using (zone_key, run_id)
    window versions as (partition by e.i order by e.k);
    create index on seed_changes (i, k);
    analyze seed_changes;

    -- The versions: an event that is no removal opens one, the event after it ends it.
    create temp table seed_versions on commit drop as
    select c.i, c.zone_key, m.image_id,
           m.name || case when c.names > 0 then ' r' || c.names else '' end as image_name,
           'PUBLIC_IMAGE' as image_type,
           (m.size + c.sizes)::text as image_size,
           case when c.descriptions > 0 then 'Rebuilt, revision ' || c.descriptions end
               as image_description,
           split_part(m.name, ' ', 2)
               || case when c.image_versions > 0 then '.' || c.image_versions else '' end
               as image_version,
           case when c.statuses % 2 = 0 then 'AVAILABLE' else 'UNAVAILABLE' end as image_status,
           split_part(m.name, ' ', 1) as category,
           case when m.name like 'Windows%' then 'windows' else 'linux' end as os_type,
           c.at as valid_from, coalesce(e.at, later.at) as valid_to,
           c.kind::syncer_store.opening as opened_kind, c.run_id as opened_run_id,
           c.ordinal as opened_ordinal, c.not_before as opened_not_before, c.changed_fields,
           e.run_id as removed_run_id, e.ordinal as removed_ordinal,
           e.not_before as removed_not_before,
           case when e.i is null then c.next_kind is null else e.next_kind is null end as latest
    from seed_changes as c
    join seed_images as m using (i)
    left join seed_changes as e
        on c.next_kind = 'removed' and e.i = c.i and e.k = c.k + 1
    left join seed_changes as later
        on c.next_kind <> 'removed' and later.i = c.i and later.k = c.k + 1
    where c.kind <> 'removed';

    insert into syncer_store.images (zone_key, image_id, image_name, image_type, image_size,
        image_description, image_version, image_status, category, os_type, extra, fingerprint,
        extra_digest, first_seen_at, valid_from, opened_kind, opened_run_id, opened_ordinal,
        opened_not_before, changed_fields, removed_at, removed_run_id, removed_ordinal,
        removed_not_before)
    select v.zone_key, image_id, image_name, image_type, image_size, image_description,
           image_version, image_status, category, os_type,
           '{"minDiskSize": 20, "nicNetworkType": ["FailOver", "MultiQueue"]}',
           decode(md5(image_id || valid_from), 'hex'), decode(md5(''), 'hex'), f.at, valid_from,
           opened_kind, opened_run_id, opened_ordinal, opened_not_before, v.changed_fields,
           valid_to, removed_run_id, removed_ordinal, removed_not_before
    from seed_versions as v
    join seed_changes as f on f.i = v.i and f.k = 0
    where latest
    order by zone_key, image_id;

    -- As they were written: in the order in which they ended.
    insert into syncer_store.image_history (zone_key, image_id, image_name, image_type, image_size,
        image_description, image_version, image_status, category, os_type, valid_from, valid_to,
        opened_kind, opened_run_id, opened_ordinal, opened_not_before, changed_fields,
        removed_run_id, removed_ordinal, removed_not_before)
    select zone_key, image_id, image_name, image_type, image_size, image_description,
           image_version, image_status, category, os_type, valid_from, valid_to, opened_kind,
           opened_run_id, opened_ordinal, opened_not_before, changed_fields, removed_run_id,
           removed_ordinal, removed_not_before
    from seed_versions
    where not latest
    order by valid_to, zone_key, image_id;

    -- The guarded zone withholds the removal of some of its images since its spoilt runs began.
    insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id,
        last_listed_at, last_run_id, judged_run_id, rule, withheld_since)
    select zone_key, image_id, withheld_since, run_id, unlisted_after, run_id, run_id, 'many',
           withheld_since
    from (
        select i.zone_key, i.image_id, g.withheld_since, g.unlisted_after, g.run_id
        from (
            select z.zone_key, min(s.removed_at) filter (where s.r > run_count - z.spoilt)
                       as withheld_since,
                   min(s.run_id) filter (where s.r > run_count - z.spoilt) as run_id,
                   max(s.observed_at) filter (where s.r <= run_count - z.spoilt) as unlisted_after
            from seed_zones as z
            join seed_scans as s using (zone_key)
            where z.ends = 'guarded'
            group by z.zone_key
        ) as g
        join syncer_store.images as i using (zone_key)
        where i.removed_at is null
        order by i.image_id
        limit greatest(11, name_count / 3)
    ) as l;

    insert into syncer_store.zone_scans (zone_key, run_id, started_at, observed_at, finished_at,
        status, listed, pages, images, appeared, changed, removed, returned, withheld, last_change,
        error_code, error_message, request_id)
    select s.zone_key, s.run_id, s.observed_at, s.observed_at,
           case when c.removed > 0 or s.status = 'guarded' then s.removed_at
                else s.observed_at + interval '1 s' end,
           s.status, s.status <> 'gone', case when s.status = 'failed' then 0 else 1 end,
           case when s.status in ('failed', 'gone') then 0
                else coalesce(sum(c.appeared + c.returned - c.removed) over (
                         partition by s.zone_key order by s.run_id), 0)
                     - case when s.status = 'guarded' then w.withheld else 0 end
           end,
           coalesce(c.appeared, 0), coalesce(c.changed, 0), coalesce(c.removed, 0),
           coalesce(c.returned, 0), case when s.status = 'guarded' then w.withheld else 0 end,
           coalesce(c.last_change, 0),
           case s.status when 'failed' then 'HTTP_503' when 'incomplete' then 'TOTAL_CHANGED'
                         when 'gone' then 'INVALID_ZONE_NOT_FOUND' end,
           case s.status when 'failed' then 'the API answered 503 seven times'
                         when 'incomplete' then 'totalCount changed between pages'
                         when 'gone' then 'DescribeZones does not list it' end,
           case when s.status in ('failed', 'gone') then md5(s.run_id::text)::uuid::text end
    from seed_scans as s
    left join (
        select zone_key, run_id, count(*) filter (where kind = 'appeared') as appeared,
               count(*) filter (where kind = 'changed') as changed,
               count(*) filter (where kind = 'removed') as removed,
               count(*) filter (where kind = 'returned') as returned, max(ordinal) as last_change
        from seed_changes
        group by zone_key, run_id
    ) as c using (zone_key, run_id)
    left join (
        select zone_key, count(withheld_since) as withheld from syncer_store.missing
        group by zone_key
    ) as w using (zone_key)
    order by s.run_id, s.zone_key;

    update syncer_store.zones as z
    set present = i.present, first_run_id = f.run_id, gone_at = case when s.ends = 'gone' then (
            select min(observed_at) from seed_scans as l
            where l.zone_key = s.zone_key and l.r > run_count - s.spoilt) end
    from seed_zones as s
    left join (
        select zone_key, count(*) filter (where removed_at is null) as present
        from syncer_store.images
        group by zone_key) as i using (zone_key)
    left join (
        select zone_key, min(run_id) as run_id from seed_scans
        where status in ('unchanged', 'changed', 'guarded')
        group by zone_key) as f using (zone_key)
    where z.zone_key = s.zone_key;

    insert into syncer_store.runs (run_id, account, started_at, finished_at, deadline_at, status,
        syncer_version, selection, zones, zones_unchanged, zones_changed, zones_incomplete,
        zones_failed, zones_guarded, zones_gone, pages, images, appeared, changed, removed,
        returned, withheld, calls, retries, error_code, error_message, change_base, changes)
    overriding system value
    select r.run_id, r.account, r.started_at,
           case when r.status = 'crashed' then r.started_at + every else r.started_at + r.took end,
           r.started_at + interval '15 min',
           coalesce(r.status, case when s.failed + s.incomplete > 0 then 'partial'
                                   else 'succeeded' end),
           '0.1.0', '{}',
           coalesce(s.scans, 0), coalesce(s.unchanged, 0), coalesce(s.changed_zones, 0),
           coalesce(s.incomplete, 0), coalesce(s.failed, 0), coalesce(s.guarded, 0),
           coalesce(s.gone, 0), coalesce(s.pages, 0), coalesce(s.images, 0),
           coalesce(s.appeared, 0), coalesce(s.changed, 0), coalesce(s.removed, 0),
           coalesce(s.returned, 0), coalesce(s.withheld, 0),
           coalesce(s.pages + 1 + s.failed * 7, 7), coalesce(s.failed * 6, 6),
           case when r.status = 'failed' then 'UNREACHABLE' when r.status = 'crashed' then 'CRASHED'
                when s.failed > 0 then 'HTTP_503' when s.incomplete > 0 then 'TOTAL_CHANGED' end,
           case when r.status = 'failed' then 'DescribeZones was not answered'
                when r.status = 'crashed' then 'the process ended without finishing the run'
                when s.failed > 0 then 'the API answered 503 seven times'
                when s.incomplete > 0 then 'totalCount changed between pages' end,
           coalesce(sum(c.changes) over (order by r.run_id rows between unbounded preceding
                                         and 1 preceding), 0),
           coalesce(c.changes, 0)
    from seed_runs as r
    left join (
        select run_id, count(*) as scans, count(*) filter (where status = 'unchanged') as unchanged,
               count(*) filter (where status = 'changed') as changed_zones,
               count(*) filter (where status = 'incomplete') as incomplete,
               count(*) filter (where status = 'failed') as failed,
               count(*) filter (where status = 'guarded') as guarded,
               count(*) filter (where status = 'gone') as gone, sum(pages) as pages,
               sum(images) as images, sum(appeared) as appeared, sum(changed) as changed,
               sum(removed) as removed, sum(returned) as returned, sum(withheld) as withheld
        from syncer_store.zone_scans
        group by run_id) as s on s.run_id = r.run_id and r.status is null
    left join (
        select run_id, count(*) as changes from seed_changes group by run_id) as c
        on c.run_id = r.run_id
    order by r.run_id;

    insert into syncer_store.approvals (zone_key, max_removals, approved_at, approved_by, outcome,
                                        decided_at, run_id, candidates)
    select z.zone_key, 10, r.started_at - interval '5 min', 'alice', 'exceeded',
           r.started_at + interval '1 min', r.run_id, m.withheld
    from seed_zones as z
    join seed_runs as r on r.account = z.account and r.r = run_count - z.spoilt / 2
    cross join lateral (
        select count(withheld_since)::integer as withheld from syncer_store.missing as m
        where m.zone_key = z.zone_key) as m
    where z.ends = 'guarded';
    -- What was there some days ago in two zones, kept as a baseline.
    with kept as (
        insert into syncer_store.baselines (name, as_of, saved_at, saved_by, filters)
        values ('release-42', upto - least(7, day_count / 2.0) * interval '1 day',
                upto - least(7, day_count / 2.0) * interval '1 day', 'alice', '{}')
        returning baseline_id, as_of
    )
    insert into syncer_store.baseline_images (baseline_id, zone_key, image_id, image_name,
        image_type, image_size, image_description, image_version, image_status, category, os_type)
    select k.baseline_id, v.zone_key, v.image_id, v.image_name, v.image_type, v.image_size,
           v.image_description, v.image_version, v.image_status, v.category, v.os_type
    from kept as k
    join seed_versions as v on tstzrange(v.valid_from, v.valid_to) @> k.as_of
    join seed_zones as z on z.zone_key = v.zone_key and z.ends is null
    where z.zone_key in (
        select zone_key from seed_zones where ends is null order by n limit 2);
    insert into syncer_store.rate_limits (account, rate, run_id)
    select account, 20, max(run_id) from seed_runs group by account;
    insert into syncer_store.extra_names (account, service, name, run_id)
    select z.account, z.service, x.name, min(r.run_id)
    from seed_zones as z
    join seed_runs as r using (account)
    cross join (values ('minDiskSize'), ('nicNetworkType')) as x (name)
    group by z.account, z.service, x.name;
    insert into syncer_store.accounts (account, run_id)
    select account, max(run_id) from seed_runs group by account
    on conflict (account) do update set run_id = excluded.run_id;
    update syncer_store.feed
    set last_change_id = (select max(change_base + changes) from syncer_store.runs);
end $seed$;
