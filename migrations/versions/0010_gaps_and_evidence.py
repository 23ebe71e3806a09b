"""When an image was missed and not yet removed is kept; evidence is of what was really seen.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)
WHOLE = "('unchanged', 'changed', 'guarded')"


def upgrade() -> None:
    tables()
    retirements()
    columns()
    what_is_missed()
    evidence()
    first_looks()
    newest_stamp()
    last_seen()
    images()
    zones()
    image_gaps()
    looks()
    presence()
    changes()
    runs()
    feed()
    approvals()
    no_longer_needed()


def tables() -> None:
    # Few rows: what a whole look did not list and is not removed. Kept apart from images, so that
    # an image that is missed and seen again writes no row of a large table.
    op.execute("""
        create table syncer_store.missing (
            zone_key       integer not null,
            image_id       text collate "C" not null,
            missing_since  timestamptz not null,
            since_run_id   bigint not null,
            last_listed_at timestamptz,
            looks          integer not null default 1,
            last_run_id    bigint not null,
            judged_run_id  bigint,
            rule           text,
            held_by_run_id bigint,
            withheld_since timestamptz,
            namesake_id    text collate "C",
            approval_id    bigint,
            primary key (zone_key, image_id),
            constraint missing_withheld_when_judged check (
                withheld_since is null or judged_run_id is not null)
        )""")
    op.execute("""
        comment on table syncer_store.missing is
        'Images that the last whole looks did not list and that are not removed; judged_run_id: the'
        ' guard has spoken (null: its run ended before), rule: which of its rules withholds it,'
        ' held_by_run_id: the run whose own rule that is'""")
    op.execute("""
        create table syncer_store.image_gaps (
            zone_key       integer not null,
            image_id       text collate "C" not null,
            gap_from       timestamptz not null,
            gap_to         timestamptz not null,
            ended_by       text not null,
            ended_run_id   bigint not null,
            seen_at        timestamptz,
            last_listed_at timestamptz,
            rule           text,
            withheld_since timestamptz,
            namesake_id    text collate "C",
            approval_id    bigint,
            primary key (zone_key, image_id, gap_from),
            constraint image_gaps_end_somehow check (
                (ended_by = 'seen' and seen_at is not null)
                or (ended_by = 'removed' and seen_at is null))
        )""")
    op.execute("""
        comment on table syncer_store.image_gaps is
        'From the first whole look that missed an image until it was seen again or removed'""")
    op.execute("""
        create index image_gaps_ended on syncer_store.image_gaps (gap_to)""")
    op.execute("""
        create index image_gaps_seen on syncer_store.image_gaps (zone_key, image_id)
        where ended_by = 'seen'""")


def retirements() -> None:
    op.execute("""
        create table syncer_store.retirements (
            zone_key   integer not null,
            retired_at timestamptz not null,
            retired_by text not null,
            ended_at   timestamptz,
            primary key (zone_key, retired_at)
        )""")
    op.execute("""
        comment on table syncer_store.retirements is
        'When a person said that a zone is gone, until a look read it again'""")


def columns() -> None:
    op.execute("""
        alter table syncer_store.zones
        add column first_run_id bigint,
        add column listed boolean not null default true,
        add column asked_when_gone boolean not null default false,
        add column key_digest bytea""")
    op.execute("""
        create table syncer_store.salt (
            only_row boolean primary key default true check (only_row),
            salt     bytea not null
        )""")
    op.execute("""
        comment on table syncer_store.salt is
        'With what zones.key_digest is hashed: of the id of an access key, never of its secret'""")
    op.execute("""
        comment on column syncer_store.zones.key_digest is
        'Of the credentials that the zone was last read whole with (null: a token, or none)'""")
    op.execute("""
        comment on column syncer_store.zones.asked_when_gone is
        'It was asked for though it is not listed: it is gone, and is not asked for again'""")
    op.execute("update syncer_store.zones set listed = false where gone_at is not null")
    op.execute("""
        alter table syncer_store.runs
        add column zones_unlisted integer not null default 0,
        add column zones_lost integer not null default 0""")
    op.execute("""
        alter table syncer_store.approvals
        add column removed integer not null default 0,
        add column of_run_id bigint,
        add column applied_run_id bigint""")
    op.execute("""
        comment on column syncer_store.approvals.of_run_id is
        'The run whose removals in this zone are approved (null: whatever the next look misses)'""")
    op.execute("""
        -- squawk-ignore require-concurrent-index-deletion
        drop index syncer_store.approvals_pending""")
    op.execute("""
        create unique index approvals_pending on syncer_store.approvals (zone_key)
        where outcome is null and of_run_id is null""")
    op.execute("""
        comment on column syncer_store.zones.first_run_id is
        'The run whose look was the first to read anything of the zone'""")


def what_is_missed() -> None:
    # The first whole look that missed it is the one after the last that listed it.
    op.execute(f"""
        insert into syncer_store.missing (zone_key, image_id, missing_since, since_run_id,
            last_listed_at, last_run_id, judged_run_id, withheld_since)
        select i.zone_key, i.image_id, coalesce(first.finished_at, i.withheld_since, now()),
               coalesce(first.run_id, i.opened_run_id), i.unlisted_after,
               coalesce(first.run_id, i.opened_run_id), coalesce(first.run_id, i.opened_run_id),
               i.withheld_since
        from syncer_store.images as i
        left join lateral (
            select s.run_id from syncer_store.zone_scans as s
            where s.zone_key = i.zone_key and s.observed_at = i.unlisted_after
            order by s.run_id desc limit 1) as listed on true
        left join lateral (
            select s.run_id, s.finished_at from syncer_store.zone_scans as s
            where s.zone_key = i.zone_key and s.run_id > coalesce(listed.run_id, i.opened_run_id)
              and s.status in {WHOLE}
            order by s.run_id limit 1) as first on true
        where i.removed_at is null
          and (i.unlisted_after is not null or i.withheld_since is not null)""")


def evidence() -> None:
    # What was known of a state is as young as the look that saw it first, though it was not whole.
    op.execute("""
        create temporary table seen_in_part on commit drop as
        select zone_key, run_id, observed_at from syncer_store.zone_scans
        where status = 'incomplete' and (appeared, changed, returned) <> (0, 0, 0)""")
    for table, ends in (("images", "removed_at"), ("image_history", "valid_to")):
        op.execute(f"""
            update syncer_store.{table} as v
            set removed_not_before = s.observed_at
            from seen_in_part as s
            where v.zone_key = s.zone_key and v.opened_run_id = s.run_id
              and v.removed_run_id is not null
              and (v.removed_not_before is null or v.removed_not_before < s.observed_at)
              and s.observed_at < v.{ends}""")
        op.execute(f"""
            update syncer_store.{table} as v
            set opened_not_before = s.observed_at
            from seen_in_part as s
            join syncer_store.image_history as p
                on p.zone_key = s.zone_key and p.opened_run_id = s.run_id
            where v.zone_key = p.zone_key and v.image_id = p.image_id and v.valid_from = p.valid_to
              and v.opened_kind = 'changed'
              and (v.opened_not_before is null or v.opened_not_before < s.observed_at)
              and s.observed_at < v.valid_from""")
    op.execute("""
        update syncer_store.missing as m
        set last_listed_at = s.observed_at
        from syncer_store.images as i
        join seen_in_part as s on s.zone_key = i.zone_key and s.run_id = i.opened_run_id
        where m.zone_key = i.zone_key and m.image_id = i.image_id
          and (m.last_listed_at is null or m.last_listed_at < s.observed_at)""")


def first_looks() -> None:
    op.execute("""
        update syncer_store.zones as z
        set first_run_id = f.run_id
        from (
            select zone_key, min(run_id) as run_id
            from (
                select zone_key, opened_run_id as run_id from syncer_store.images
                where opened_kind = 'appeared' and opened_not_before is null
                union all
                select zone_key, opened_run_id from syncer_store.image_history
                where opened_kind = 'appeared' and opened_not_before is null
                union all
                select s.zone_key, s.run_id from syncer_store.zone_scans as s
                where s.status in ('unchanged', 'changed', 'guarded') and not exists (
                    select from syncer_store.retention as k
                    where k.zone_key = s.zone_key and k.kept_from is not null)
            ) as looks
            group by zone_key
        ) as f
        where f.zone_key = z.zone_key""")


def newest_stamp() -> None:
    # Few steps in indexes: the newest run by number, and by time, as clocks stepped back before
    # there was a time line; of runs at work the newest scans.
    op.execute("""
        create function syncer_store.newest_stamp(of_account text) returns timestamptz
        language sql stable
        return greatest(
            (select max(newest_at) from syncer_store.zones where account = of_account),
            (select greatest(started_at, finished_at) from syncer_store.runs
             where account = of_account order by run_id desc limit 1),
            (select greatest(started_at, finished_at) from syncer_store.runs
             where account = of_account order by started_at desc limit 1),
            (select max(s.finished_at)
             from syncer_store.runs as r
             join syncer_store.zones as z using (account)
             join syncer_store.zone_scans as s on s.zone_key = z.zone_key and s.run_id = r.run_id
             where r.account = of_account and r.status = 'running'))""")


def last_seen() -> None:
    # Of an image that no whole look missed: the last whole look, or a look in part after it that
    # opened the version, or saw the image again.
    op.execute("""
        create function syncer_store.last_seen(
            of_zone integer, of_image text, opened_by bigint, whole_at timestamptz
        ) returns timestamptz language sql stable
        return greatest(
            whole_at,
            (select s.observed_at from syncer_store.zone_scans as s
             where s.zone_key = of_zone and s.run_id = opened_by),
            (select max(g.seen_at) from syncer_store.image_gaps as g
             where g.zone_key = of_zone and g.image_id = of_image))""")


def images() -> None:
    # observed_at: what the last whole look listed was seen by it, or later by a look in part that
    # opened the version, or by an answer.
    op.execute(f"""
        create or replace view syncer.images as
        select z.account, z.service, z.zone_id, i.image_id,
               {listed("i")},
               syncer_store.size_gib(i.image_size) as image_size_gib,
               coalesce(i.extra, '{{}}') as extra, i.fingerprint,
               case when z.gone_at is not null then 'unknown'
                    when i.removed_at is not null then 'absent'
                    when m.image_id is not null then 'unknown'
                    else 'present' end as presence,
               i.first_seen_at, coalesce(i.removed_at, i.valid_from) as changed_at, i.removed_at,
               m.withheld_since,
               case when m.image_id is not null then m.last_listed_at
                    when i.removed_at is not null then i.removed_not_before
                    else greatest( -- as syncer_store.last_seen, which a reader may not call
                        z.whole_at, g.seen_at, case when i.opened_run_id > z.whole_run_id
                                                      or z.whole_run_id is null then (
                            select s.observed_at from syncer_store.zone_scans as s
                            where s.zone_key = i.zone_key and s.run_id = i.opened_run_id) end) end
                   as observed_at,
               m.missing_since as unlisted_since
        from syncer_store.images as i
        join (
            select z.zone_key, z.account, z.service, z.zone_id, z.gone_at,
                   whole.run_id as whole_run_id, whole.observed_at as whole_at
            from syncer_store.zones as z
            left join lateral (
                select s.run_id, s.observed_at from syncer_store.zone_scans as s
                where s.zone_key = z.zone_key and s.status in {WHOLE}
                order by s.run_id desc limit 1) as whole on true
        ) as z using (zone_key)
        left join syncer_store.missing as m
            on m.zone_key = i.zone_key and m.image_id = i.image_id
        left join (
            select zone_key, image_id, max(seen_at) as seen_at from syncer_store.image_gaps
            where ended_by = 'seen'
            group by zone_key, image_id
        ) as g on g.zone_key = i.zone_key and g.image_id = i.image_id""")
    op.execute("""
        comment on column syncer.images.presence is
        'present, absent, or unknown: its zone is gone, or the last whole look did not list it and'
        ' it is not confirmed to be absent'""")
    op.execute("""
        comment on column syncer.images.observed_at is 'When it was seen last'""")
    op.execute("""
        comment on column syncer.images.unlisted_since is
        'The first whole look that did not list it, while it is neither seen again nor removed'""")
    op.execute(f"""
        create or replace view syncer.image_versions as
        select z.account, z.service, z.zone_id, v.image_id,
               {TRACKED},
               syncer_store.size_gib(v.image_size) as image_size_gib,
               v.valid_from, v.valid_to, v.run_id, v.last_listed_at
        from (
            select i.zone_key, i.image_id, {listed("i")}, i.valid_from, i.removed_at as valid_to,
                   i.opened_run_id as run_id,
                   case when i.removed_at is not null then i.removed_not_before else (
                       select m.last_listed_at from syncer_store.missing as m
                       where m.zone_key = i.zone_key and m.image_id = i.image_id) end
                       as last_listed_at
            from syncer_store.images as i -- with a join a filter would not reach its index
            union all
            select zone_key, image_id, {TRACKED}, valid_from, valid_to, opened_run_id,
                   removed_not_before
            from syncer_store.image_history
        ) as v
        join syncer_store.zones as z using (zone_key)""")


def zones() -> None:
    op.execute(f"""
        create or replace view syncer.zones as
        select z.account, z.service, z.zone_id, z.zone_name, z.attributes, z.first_seen_at,
               seen.observed_at as last_seen_at, z.gone_at,
               whole.observed_at as last_complete_at,
               last.observed_at as last_attempt_at, last.status as last_status,
               case when z.gone_at is null then z.present - m.missing::integer else 0 end
                   as present_images,
               m.withheld::integer as withheld_removals,
               a.max_removals as approved_removals, k.kept_from,
               z.listed,
               whole.observed_at - (r.started_at - coalesce(r.clock_at, r.started_at))
                   as last_complete_clock,
               m.missing::integer as unlisted_images,
               t.retired_by
        from syncer_store.zones as z
        left join syncer_store.approvals as a
            on a.zone_key = z.zone_key and a.outcome is null and a.of_run_id is null
        left join syncer_store.retention as k on k.zone_key = z.zone_key
        left join syncer_store.retirements as t on t.zone_key = z.zone_key and t.ended_at is null
        left join lateral (
            select observed_at, status from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key order by s.run_id desc limit 1) as last on true
        left join lateral (
            select observed_at, run_id from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key and s.status in {WHOLE}
            order by s.run_id desc limit 1) as whole on true
        left join syncer_store.runs as r on r.run_id = whole.run_id
        left join lateral (
            select observed_at from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key and (s.listed or s.status not in ('failed', 'gone'))
            order by s.run_id desc limit 1) as seen on true
        cross join lateral (
            select count(*) as missing, count(withheld_since) as withheld
            from syncer_store.missing as m where m.zone_key = z.zone_key) as m""")
    for column, comment in (
        ("present_images", "Images whose presence is present; those of a gone zone are unknown"),
        ("listed", "Whether DescribeZones named it when its answer was last reliable"),
        ("last_complete_clock", "The clock at the last whole look: for ages"),
        (
            "unlisted_images",
            "Images that the last whole look did not list and that are not removed",
        ),
        ("retired_by", "Who said that the zone is gone for this account (null: nobody)"),
    ):
        op.execute(f"comment on column syncer.zones.{column} is '{comment}'")


def image_gaps() -> None:
    op.execute("""
        create view syncer.image_gaps as
        select z.account, z.service, z.zone_id, g.image_id, g.gap_from, g.gap_to, g.ended_by,
               g.rule, g.withheld_since, g.last_listed_at, g.seen_at, g.namesake_id
        from (
            select zone_key, image_id, gap_from, gap_to, ended_by, rule, withheld_since,
                   last_listed_at, seen_at, namesake_id
            from syncer_store.image_gaps
            union all
            select zone_key, image_id, missing_since, null, null, rule, withheld_since,
                   last_listed_at, null, namesake_id
            from syncer_store.missing
        ) as g
        join syncer_store.zones as z using (zone_key)""")
    op.execute("""
        comment on view syncer.image_gaps is
        'Times when it was unknown whether an image is there: from the first whole look that did'
        ' not list it until it was seen again or removed'""")
    for column, comment in (
        ("gap_from", "When the first whole look that did not list it had ended"),
        ("gap_to", "When it was seen again or removed (null: neither yet)"),
        ("ended_by", "seen or removed (null: neither yet)"),
        ("rule", "Why it was withheld: many, turned_over, emptied, run, kind or another_key"),
        ("withheld_since", "Since when its removal was withheld"),
        ("last_listed_at", "When it was seen last before"),
        ("seen_at", "When it was seen again"),
        ("namesake_id", "An image of the same name that appeared in the look that missed this one"),
    ):
        op.execute(f"comment on column syncer.image_gaps.{column} is '{comment}'")


# As in 0006: nothing is looked for before the kept time (k), where all is unknown, and of an
# instant later than the clock and every stamp nothing is known yet.
LAST_RUN = """
                left join syncer_store.retention as k on k.zone_key = z.zone_key
                left join lateral (
                    select at <= greatest(
                        clock_timestamp(), syncer_store.newest_stamp(z.account)) as come
                ) as t on true
                left join lateral (
                    select run_id from syncer_store.runs as r
                    where r.account = z.account and r.started_at <= at and t.come
                      and (k.kept_from is null or at >= k.kept_from)
                    order by r.started_at desc limit 1) as b on true"""
LAST_LOOK = """
                left join lateral (
                    select case when r.zone_key is null then s.status else 'gone' end as status
                    from (select s.status from syncer_store.zone_scans as s
                          where s.zone_key = z.zone_key and s.run_id <= b.run_id
                            and s.finished_at <= at
                            and s.status in ('unchanged', 'changed', 'guarded', 'gone')
                          order by s.run_id desc limit 1) as s
                    left join syncer_store.retirements as r
                        on r.zone_key = z.zone_key and r.retired_at <= at
                       and (r.ended_at > at or r.ended_at is null)
                    limit 1) as look on true"""


def looks() -> None:
    # What it returns grows, so it is made anew, and with it the function that reads it.
    for function in ("images_asof", "zone_coverage"):
        op.execute(f"""
        -- squawk-ignore ban-drop-function
        drop function syncer.{function}(timestamptz)""")
    op.execute(f"""
        create function syncer.zone_coverage(at timestamptz) returns table (
            account text, service text, zone_id text, last_complete_at timestamptz,
            next_complete_at timestamptz, coverage text, gone boolean,
            last_complete_run_id bigint, last_complete_finished_at timestamptz,
            next_complete_finished_at timestamptz)
        language sql stable security definer set search_path = '' rows 100
        begin atomic
            select z.account, z.service, z.zone_id,
                   coalesce(inside.observed_at, whole.observed_at),
                   coalesce(beyond.observed_at, later.observed_at),
                   case when look.status <> 'gone' then 'known' else 'unknown' end,
                   case when (k.kept_from is null or at >= k.kept_from) and t.come
                       then coalesce(look.status = 'gone', false) end,
                   coalesce(inside.run_id, whole.run_id),
                   coalesce(inside.finished_at, whole.finished_at),
                   coalesce(beyond.finished_at, later.finished_at)
            from syncer_store.zones as z {LAST_RUN} {LAST_LOOK}
                left join lateral (
                    select s.observed_at, s.finished_at, s.run_id
                    from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id <= b.run_id and s.finished_at <= at
                      and s.status in {WHOLE}
                    order by s.run_id desc limit 1) as whole on true
                left join lateral (
                    select u.observed_at, u.finished_at, u.run_id
                    from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed, t.finished)
                             as u (run_id, observed_at, finished_at)
                    where t.zone_key = z.zone_key and t.run_id = whole.run_id
                      and u.run_id <= b.run_id and u.finished_at <= at
                    order by u.run_id desc limit 1) as inside on true
                left join lateral (
                    select u.observed_at, u.finished_at
                    from syncer_store.stretches as t,
                         unnest(t.run_ids, t.observed, t.finished)
                             as u (run_id, observed_at, finished_at)
                    where t.zone_key = z.zone_key and t.run_id = whole.run_id
                      and u.run_id >= b.run_id and u.finished_at > at
                    order by u.run_id limit 1) as beyond on true
                left join lateral (
                    select s.observed_at, s.finished_at from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id >= coalesce(b.run_id, 0)
                      and (k.kept_from is null or at >= k.kept_from)
                      and s.finished_at > at
                      and s.status in {WHOLE}
                    order by s.run_id limit 1) as later on true;
        end""")


def presence() -> None:
    op.execute(f"""
        create function syncer.images_asof(at timestamptz) returns table (
            account text, service text, zone_id text, image_id text, image_name text,
            image_type text, image_size text, image_description text, image_version text,
            image_status text, category text, os_type text, valid_from timestamptz,
            observed_at timestamptz)
        language sql stable rows 10000
        begin atomic
            select account, service, zone_id, v.image_id, {TRACKED}, v.valid_from,
                   greatest(s.seen_at, case
                       when v.run_id <= c.last_complete_run_id then c.last_complete_at
                       else coalesce((
                           select s.observed_at from syncer.zone_scans as s
                           where (s.account, s.service, s.zone_id, s.run_id)
                               = (v.account, v.service, v.zone_id, v.run_id)), v.valid_from)
                       end)
            from syncer.image_versions as v
            join syncer.zone_coverage(at) as c using (account, service, zone_id)
            left join (
                select account, service, zone_id, image_id, max(seen_at) as seen_at
                from syncer.image_gaps
                where ended_by = 'seen' and gap_to <= at
                group by account, service, zone_id, image_id
            ) as s using (account, service, zone_id, image_id)
            where tstzrange(v.valid_from, v.valid_to) @> at and not c.gone
              and (account, service, zone_id, image_id) not in (
                  select g.account, g.service, g.zone_id, g.image_id
                  from syncer.image_gaps as g
                  where g.gap_from <= at and (g.gap_to > at or g.gap_to is null));
        end""")
    op.execute(f"""
        create or replace function syncer.image_presence(
            account text, service text, zone_id text, image_id text, at timestamptz
        ) returns text language sql stable security definer set search_path = ''
        return coalesce((
            select case when not t.come or at < k.kept_from or look.status = 'gone' then 'unknown'
                        when exists (
                            select from syncer_store.missing as m
                            where m.zone_key = z.zone_key and m.image_id = $4
                              and m.missing_since <= at) then 'unknown'
                        when exists (
                            select from syncer_store.image_gaps as g
                            where g.zone_key = z.zone_key and g.image_id = $4
                              and g.gap_from <= at and g.gap_to > at) then 'unknown'
                        when exists (
                            select from syncer_store.images as i
                            where i.zone_key = z.zone_key and i.image_id = $4
                              and tstzrange(i.valid_from, i.removed_at) @> at) then 'present'
                        when exists (
                            select from syncer_store.image_history as i
                            where i.zone_key = z.zone_key and i.image_id = $4
                              and tstzrange(i.valid_from, i.valid_to) @> at) then 'present'
                        when look.status is not null then 'absent'
                        else 'unknown' end
            from syncer_store.zones as z {LAST_RUN} {LAST_LOOK}
            where z.account = $1 and z.service = $2 and z.zone_id = $3), 'unknown')""")


def changes() -> None:
    version = f"""
                   zone_key, image_id, {TRACKED}, valid_from, opened_kind, opened_run_id,
                   opened_ordinal, opened_not_before, changed_fields"""
    removal = f"""
                   zone_key, image_id, {TRACKED}, removed_run_id, removed_ordinal,
                   removed_not_before"""
    op.execute(f"""
        create or replace view syncer.image_changes as
        select r.change_base + c.ordinal as change_id,
               c.changed_at, c.not_before, c.kind,
               z.account, z.service, z.zone_id, c.image_id, c.image_name,
               c.changed_fields, c.before, c.after, c.run_id,
               c.kind = 'appeared' and c.run_id is not distinct from z.first_run_id as first_look
        from (
            select v.zone_key, v.image_id, v.image_name, v.opened_run_id as run_id,
                   v.opened_ordinal as ordinal, v.valid_from as changed_at,
                   v.opened_not_before as not_before, v.opened_kind::text as kind,
                   coalesce(v.changed_fields, '{{}}') as changed_fields,
                   case when v.opened_kind <> 'appeared' then (
                       select syncer_store.tracked_json({listed("p")})
                       from syncer_store.image_history as p
                       where p.zone_key = v.zone_key and p.image_id = v.image_id
                         and p.valid_from < v.valid_from
                       order by p.valid_from desc limit 1) end as before,
                   syncer_store.tracked_json({listed("v")}) as after
            from (
                select {version} from syncer_store.images
                union all
                select {version} from syncer_store.image_history
            ) as v
            union all
            select v.zone_key, v.image_id, v.image_name, v.removed_run_id, v.removed_ordinal,
                   v.removed_at, v.removed_not_before, 'removed', '{{}}',
                   syncer_store.tracked_json({listed("v")}), null
            from (
                select {removal}, removed_at from syncer_store.images
                where removed_run_id is not null
                union all
                select {removal}, valid_to from syncer_store.image_history
                where removed_run_id is not null
            ) as v
        ) as c
        join syncer_store.zones as z using (zone_key)
        join syncer_store.runs as r on r.run_id = c.run_id and r.change_base is not null
        left join syncer_store.retention as k on k.zone_key = c.zone_key
        where k.kept_from is null or c.changed_at > k.kept_from
           or c.kind in ('appeared', 'removed')
           or exists (
               select from syncer_store.image_history as p
               where p.zone_key = c.zone_key and p.image_id = c.image_id
                 and p.valid_from < c.changed_at)""")
    op.execute("""
        comment on column syncer.image_changes.first_look is
        'Seen by the first look that read anything of its zone: it may have been there for long'""")


def runs() -> None:
    op.execute("""
        create or replace view syncer.runs as
        select r.run_id, r.account, r.started_at, r.finished_at, r.deadline_at, r.status, r.zones,
               r.zones_unchanged, r.zones_changed, r.zones_incomplete, r.zones_failed,
               r.zones_guarded, r.zones_gone, r.pages, r.images, r.appeared, r.changed, r.removed,
               r.returned, r.withheld, r.rejected, r.rereads, r.calls, r.retries, r.error_code,
               r.error_message, r.selection, r.syncer_version,
               r.change_base + r.changes as last_change_id,
               coalesce(r.clock_at, r.started_at) as clock_at,
               case when r.status = 'running' then (
                   select l.pid
                   from syncer_store.accounts as a
                   join pg_catalog.pg_locks as l on l.pid = a.pid
                   where a.account = r.account and a.run_id = r.run_id
                     and l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
                     and l.objsubid = 1
                     and ((l.classid::bigint << 32) | l.objid::bigint) = a.lock_key
                     and l.database = (select oid from pg_catalog.pg_database
                                       where datname = current_database())
                   limit 1) end as pid,
               r.zones_unlisted, r.zones_lost
        from syncer_store.runs as r""")
    op.execute("""
        comment on column syncer.runs.zones_unlisted is
        'Zones that DescribeZones no longer lists and that answered with images'""")
    op.execute("""
        comment on column syncer.runs.zones_lost is
        'Zones that were listed and read before, and are gone or not listed since this run'""")


def feed() -> None:
    op.execute("alter table syncer_store.feed add column pruned_to bigint not null default 0")
    op.execute("""
        create view syncer.feed as
        select last_change_id, pruned_to from syncer_store.feed""")
    op.execute("""
        comment on view syncer.feed is 'How far changes are numbered, and kept'""")
    op.execute("""
        comment on column syncer.feed.last_change_id is
        'The newest change: no other will get this number or a lower one'""")
    op.execute("""
        comment on column syncer.feed.pruned_to is
        'Changes up to this one may be missing: syncer prune deleted what it was to'""")


def approvals() -> None:
    op.execute("""
        create or replace view syncer.approvals as
        select a.approval_id, z.account, z.service, z.zone_id, a.max_removals, a.approved_at,
               a.approved_by, coalesce(a.outcome, 'pending') as outcome, a.decided_at, a.run_id,
               a.candidates, a.removed, a.of_run_id
        from syncer_store.approvals as a
        join syncer_store.zones as z using (zone_key)""")


def no_longer_needed() -> None:
    op.execute("""
        -- squawk-ignore ban-drop-column
        alter table syncer_store.images drop column unlisted_after, drop column withheld_since""")
    op.execute("""
        -- squawk-ignore ban-drop-column
        alter table syncer_store.zones drop column withheld,
        add constraint zones_present_is_a_number check (present >= 0)""")


def listed(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
