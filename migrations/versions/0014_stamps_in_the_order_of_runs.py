"""Stamps of 0008 go in the order of runs, also where the clock had stepped back.

Before 0009 stamps were the clock's. Where it stepped back, later runs were stamped as earlier, and
what an instant was asked for was answered by looks that had not been yet. Here each such run begins
after every stamp of the runs before it, as it would have since 0009: all that it stamped moves with
it, and what the clock said stays in runs.clock_at. Where no run is out of order, nothing is done.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

WHOLE = "('unchanged', 'changed', 'guarded')"
TICK = "interval '1 microsecond'"
COPIED = (
    "zone_key, image_id, image_name, image_type, image_size, image_description, image_version, "
    "image_status, category, os_type, opened_kind, opened_run_id, opened_ordinal, changed_fields, "
    "removed_run_id, removed_ordinal"
)
MOVED = "valid_from, valid_to, opened_not_before, removed_not_before"


def upgrade() -> None:
    moved_runs()
    moved_looks()
    moved_history()
    moved_images()
    missing()
    gaps()
    approvals()
    retention()
    zones()
    retirements()
    versions()
    scans()
    runs()
    evidence()
    gaps_again()


def where_needed(statement: str) -> None:
    """Do it only where a run is out of order; so even a plan that reads all costs nothing else."""
    op.execute(f"""
        do $$ begin
            if exists (select from moved_runs) then
                {statement};
            end if;
        end $$""")


def by_run(at: str, run: str, zone: str) -> str:
    """Where a stamp goes that a run wrote.

    Outside of the run it was not by the clock, but a tick after the version before, or the clock
    stepped meanwhile: it was written at the latest when the look was stored.
    """
    return f"""case
            when {at} between {run}.started_at and {run}.ended_at then {at} + {run}.shift
            when {at} is not null then coalesce(
                (select k.new_finished from moved_looks as k
                 where k.zone_key = {zone} and k.run_id = {run}.run_id limit 1),
                {run}.ended_at + {run}.shift) end"""


def by_value(at: str, account: str, upto: str) -> str:
    """Where an instant goes that is of no run that is known, but of one up to a run, or after it.

    It stays with the run that began last before it.
    """
    return f"""coalesce(
            (select least({at} + q.shift, q.next_at - {TICK}) from moved_runs as q
             where q.account = {account} and q.run_id <= {upto} and q.started_at <= {at}
             order by q.started_at desc limit 1), {at})"""


def by_look(at: str, zone: str, account: str, before: str) -> str:
    """Where an instant goes at which a look before a run observed (+ 0: not by the other index)."""
    return f"""coalesce(
            (select k.new_observed from moved_looks as k
             where k.zone_key = {zone} and k.observed_at = {at} and k.run_id < {before}
             order by k.run_id + 0 desc limit 1), {by_value(at, account, f"{before} - 1")})"""


def moved_runs() -> None:
    # Of each account with a run out of order all runs: what the clock said at their first and last
    # stamp, and by what they move. With two million scans: 1 s. A run that crashed was ended by the
    # next one. Of runs that prune deleted, stretches may be left.
    #
    # A run that lasted d begins a tick after the end before it, or by its clock: its end is
    # e = max(its own, the e before + tick + d). With s the sum of tick + d up to it, that is s plus
    # the highest of (own end - s) up to it. In microseconds: hours of a day may differ.
    op.execute(f"""
        create temporary table moved_runs on commit drop as
        with looks as (
            select run_id, min(finished_at) as first_at,
                   max(greatest(observed_at, finished_at)) as last_at
            from syncer_store.zone_scans
            group by run_id
        ), known as materialized (
            select r.account, r.run_id, r.started_at, r.clock_at is null as by_clock,
                   greatest(r.started_at, case when r.status <> 'crashed' then r.finished_at end,
                            l.last_at) as ended_at,
                   l.first_at < r.started_at as stepped
            from syncer_store.runs as r
            left join looks as l using (run_id)
        ), out_of_order as materialized (
            select account
            from (select account, stepped, started_at < max(ended_at) over (
                             partition by account order by run_id
                             rows between unbounded preceding and 1 preceding) as early
                  from known) as k
            where early or stepped
            union
            select z.account
            from syncer_store.approvals as a join syncer_store.zones as z using (zone_key)
            left join known as k on k.run_id = a.run_id
            where a.approved_at > a.decided_at and k.by_clock is distinct from false
        ), placed as (
            select *, (extract(epoch from started_at) * 1000000)::bigint as began,
                   (extract(epoch from ended_at) * 1000000)::bigint as ended,
                   case when by_clock then 2 else 1 end as tick
            from (
                select account, run_id, started_at, ended_at, by_clock from known
                union all
                select z.account, u.run_id, min(u.observed_at), max(u.finished_at), true
                from syncer_store.stretches as t
                join syncer_store.zones as z using (zone_key)
                cross join lateral unnest(t.run_ids, t.observed, t.finished)
                    as u (run_id, observed_at, finished_at)
                where z.account in (select account from out_of_order)
                  and not exists (select from syncer_store.runs as r where r.run_id = u.run_id)
                group by z.account, u.run_id
            ) as k
            where account in (select account from out_of_order)
        ), summed as (
            select *, sum(tick + ended - began) over (partition by account order by run_id) as upto
            from placed
        ), shifted as (
            select account, run_id, started_at, ended_at, by_clock,
                   (upto - ended + max(ended - upto) over (partition by account order by run_id))
                       * {TICK} as shift
            from summed
        )
        select *, lead(started_at + shift) over (partition by account order by run_id) as next_at
        from shifted""")
    where_needed("""
                create unique index on moved_runs (run_id);
                create index on moved_runs (account, started_at);
                analyze moved_runs""")


def moved_looks() -> None:
    # Where the clock stepped back within a look, its end is not before it observed.
    where_needed("""
                create temporary table moved_looks on commit drop as
                select s.zone_key, s.run_id, s.observed_at, s.finished_at,
                       s.observed_at + m.shift as new_observed,
                       greatest(s.finished_at, s.observed_at) + m.shift as new_finished
                from (
                    select zone_key, run_id, observed_at, finished_at from syncer_store.zone_scans
                    union all
                    select t.zone_key, u.*
                    from syncer_store.stretches as t
                    cross join lateral unnest(t.run_ids, t.observed, t.finished) as u
                ) as s
                join moved_runs as m using (run_id);
                create index on moved_looks (zone_key, run_id);
                create index on moved_looks (zone_key, observed_at);
                analyze moved_looks""")


def moved_history() -> None:
    # A version ended when it was removed, or the next one began. Versions of an image are in order.
    where_needed(f"""
                create temporary table moved_history on commit drop as
                select {", ".join(f"h.{name}" for name in COPIED.split(", "))},
                       h.valid_from as old_from, new.*
                from (
                    select h.*, lead(h.opened_run_id) over (
                        partition by h.zone_key, h.image_id order by h.valid_from) as next_run_id
                    from syncer_store.image_history as h
                ) as h
                join syncer_store.images as i using (zone_key, image_id)
                join moved_runs as o on o.run_id = h.opened_run_id
                join moved_runs as c
                    on c.run_id = coalesce(h.removed_run_id, h.next_run_id, i.opened_run_id)
                cross join lateral (
                    select {by_run("h.valid_from", "o", "h.zone_key")} as valid_from,
                           {by_run("h.valid_to", "c", "h.zone_key")} as valid_to,
                           {by_look("h.opened_not_before", "h.zone_key", "o.account", "o.run_id")}
                               as opened_not_before,
                           {by_look("h.removed_not_before", "h.zone_key", "c.account", "c.run_id")}
                               as removed_not_before
                    offset 0
                ) as new
                where (new.valid_from, new.valid_to, new.opened_not_before, new.removed_not_before)
                      is distinct from
                      (h.valid_from, h.valid_to, h.opened_not_before, h.removed_not_before);
                analyze moved_history""")


def moved_images() -> None:
    where_needed(f"""
                create temporary table moved_images on commit drop as
                select i.zone_key, i.image_id, new.*
                from syncer_store.images as i
                join moved_runs as o on o.run_id = i.opened_run_id
                left join moved_runs as c on c.run_id = i.removed_run_id
                left join syncer_store.image_history as h
                    on i.opened_kind <> 'appeared' and h.zone_key = i.zone_key
                   and h.image_id = i.image_id and h.valid_from = i.first_seen_at
                left join moved_runs as f on f.run_id = h.opened_run_id
                cross join lateral (
                    select case
                               when i.opened_kind = 'appeared'
                                   then {by_run("i.first_seen_at", "o", "i.zone_key")}
                               when f.run_id is not null
                                   then {by_run("i.first_seen_at", "f", "i.zone_key")}
                               else {by_value("i.first_seen_at", "o.account", "o.run_id")} end
                               as first_seen_at,
                           {by_run("i.valid_from", "o", "i.zone_key")} as valid_from,
                           {by_look("i.opened_not_before", "i.zone_key", "o.account", "o.run_id")}
                               as opened_not_before,
                           {by_run("i.removed_at", "c", "i.zone_key")} as removed_at,
                           {by_look("i.removed_not_before", "i.zone_key", "c.account", "c.run_id")}
                               as removed_not_before
                    offset 0
                ) as new
                where (new.first_seen_at, new.valid_from, new.opened_not_before, new.removed_at,
                       new.removed_not_before)
                      is distinct from
                      (i.first_seen_at, i.valid_from, i.opened_not_before, i.removed_at,
                       i.removed_not_before);
                analyze moved_images""")


def missing() -> None:
    where_needed(f"""
                update syncer_store.missing as m
                set missing_since = {by_run("m.missing_since", "s", "m.zone_key")},
                    last_listed_at =
                        {by_look("m.last_listed_at", "m.zone_key", "s.account", "s.run_id")},
                    withheld_since = coalesce(
                        (select m.withheld_since + q.shift from moved_runs as q
                         where q.account = s.account and q.run_id >= s.run_id
                           and m.withheld_since between q.started_at and q.ended_at
                         order by q.run_id limit 1), m.withheld_since)
                from moved_runs as s
                where s.run_id = m.since_run_id""")


def gaps() -> None:
    # Its key has a stamp: taken out and put back, none meets another midway.
    where_needed(f"""
                create temporary table moved_gaps on commit drop as
                select g.zone_key, g.image_id, coalesce(
                           (select k.new_finished from moved_looks as k
                            where k.zone_key = g.zone_key and k.run_id <= e.run_id
                              and k.finished_at = g.gap_from
                            order by k.run_id desc limit 1),
                           {by_value("g.gap_from", "e.account", "e.run_id")}) as gap_from,
                       {by_run("g.gap_to", "e", "g.zone_key")} as gap_to,
                       g.ended_by, g.ended_run_id,
                       {by_look("g.seen_at", "g.zone_key", "e.account", "(e.run_id + 1)")}
                           as seen_at,
                       {by_look("g.last_listed_at", "g.zone_key", "e.account", "e.run_id")}
                           as last_listed_at,
                       g.rule,
                       {by_value("g.withheld_since", "e.account", "e.run_id")} as withheld_since,
                       g.namesake_id, g.approval_id
                from syncer_store.image_gaps as g
                join moved_runs as e on e.run_id = g.ended_run_id;
                delete from syncer_store.image_gaps as g
                using moved_runs as e
                where e.run_id = g.ended_run_id;
                insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
                    ended_run_id, seen_at, last_listed_at, rule, withheld_since, namesake_id,
                    approval_id)
                select * from moved_gaps""")


def approvals() -> None:
    # A person approves between runs, or during one. It was after the whole look before the one that
    # it was for, and before that one's end: of the runs between with the one that began last before
    # it by the clock; where none did, after the last of them. One that was replaced, before what
    # the next one was for. Since 0010 one may stay for later looks, but then stamps are in order.
    where_needed(f"""
                update syncer_store.approvals as a
                set approved_at = {by_person("a.approved_at")},
                    decided_at = case when r.run_id is null then {by_person("a.decided_at")}
                                      else {by_run("a.decided_at", "r", "a.zone_key")} end
                from syncer_store.approvals as p
                join syncer_store.zones as z using (zone_key)
                left join moved_runs as r on r.run_id = p.run_id
                cross join lateral (
                    select min(n.run_id) as run_id from syncer_store.approvals as n
                    where n.zone_key = p.zone_key and n.approval_id >= p.approval_id
                ) as used
                where p.approval_id = a.approval_id
                  and z.account in (select account from moved_runs)""")


def by_person(at: str) -> str:
    """Where an instant goes at which a person approved."""
    of_run = "q.account = z.account"
    return f"""case when {at} is not null then coalesce(
                        (select case when {at} <= q.ended_at then {at} + q.shift
                                     else least(greatest({at}, q.ended_at + q.shift + {TICK}),
                                                q.next_at - {TICK}) end
                         from moved_runs as q
                         where {of_run}
                           and q.run_id >= coalesce((
                               select max(s.run_id)
                               from syncer_store.zone_scans as s
                               join moved_runs as w on w.run_id = s.run_id and w.by_clock
                               where s.zone_key = z.zone_key and s.status in {WHOLE}
                                 and (s.run_id < used.run_id or used.run_id is null)), 0)
                           and q.started_at <= {at}
                           and (q.run_id < used.run_id or used.run_id is null
                                or (q.run_id = used.run_id and {at} <= q.ended_at))
                         order by q.run_id desc limit 1),
                        (select least(greatest({at}, q.ended_at + q.shift + {TICK}),
                                      q.next_at - {TICK})
                         from moved_runs as q
                         where {of_run} and q.by_clock
                           and (q.run_id < used.run_id or used.run_id is null)
                         order by q.run_id desc limit 1),
                        {at}) end"""


def retention() -> None:
    # Prune went by the order of stamps: in that of runs, more of an image may be gone, all that was
    # before a state that has none before it.
    where_needed(f"""
                update syncer_store.retention as k
                set kept_from = greatest(
                    {by_value("k.kept_from", "z.account", "9223372036854775807")},
                    (select max({by_run("v.valid_from", "o", "v.zone_key")})
                     from (
                         select zone_key, image_id, valid_from, opened_kind, opened_run_id
                         from syncer_store.images
                         union all
                         select zone_key, image_id, valid_from, opened_kind, opened_run_id
                         from syncer_store.image_history
                     ) as v
                     join moved_runs as o on o.run_id = v.opened_run_id
                     where v.zone_key = k.zone_key and v.opened_kind <> 'appeared'
                       and v.valid_from <= k.kept_from and not exists (
                           select from syncer_store.image_history as p
                           where p.zone_key = v.zone_key and p.image_id = v.image_id
                             and p.valid_from < v.valid_from)))
                from syncer_store.zones as z
                where z.zone_key = k.zone_key and k.kept_from is not null
                  and z.account in (select account from moved_runs)""")


def zones() -> None:
    # First seen by the run of its first look, or one before that did not read it. Gone since the
    # first look that found that, after the last whole one. Runs begin after what is approved.
    where_needed(f"""
                update syncer_store.zones as z
                set first_seen_at = coalesce(
                        (select z.first_seen_at + q.shift from moved_runs as q
                         where q.account = z.account
                           and q.run_id <= (select min(k.run_id) from moved_looks as k
                                            where k.zone_key = z.zone_key)
                           and z.first_seen_at between q.started_at and q.ended_at
                         order by q.run_id desc limit 1),
                        {by_value("z.first_seen_at", "z.account", "9223372036854775807")}),
                    gone_at = coalesce(
                        (select z.gone_at + q.shift
                         from syncer_store.zone_scans as s
                         join moved_runs as q using (run_id)
                         where s.zone_key = z.zone_key and s.status = 'gone'
                           and s.run_id > coalesce((
                               select max(w.run_id) from syncer_store.zone_scans as w
                               where w.zone_key = z.zone_key and w.status in {WHOLE}), 0)
                           and z.gone_at between q.started_at and q.ended_at
                         order by s.run_id limit 1),
                        {by_value("z.gone_at", "z.account", "9223372036854775807")}),
                    newest_at = greatest(
                        {by_value("z.newest_at", "z.account", "9223372036854775807")},
                        (select max(a.approved_at) from syncer_store.approvals as a
                         where a.zone_key = z.zone_key))
                where z.account in (select account from moved_runs)""")


def retirements() -> None:
    # They came with 0010, and with them the time line.
    where_needed(f"""
                update syncer_store.retirements as t
                set retired_at = {by_value("t.retired_at", "z.account", "9223372036854775807")},
                    ended_at = {by_value("t.ended_at", "z.account", "9223372036854775807")}
                from syncer_store.zones as z
                where z.zone_key = t.zone_key and z.account in (select account from moved_runs)""")


def versions() -> None:
    # Closed versions are taken out and put back: so none reaches into another midway, and no index
    # is built anew: of 52 s of a processor that a million versions and two million scans took to
    # move, 24. The latest ones that go forward go first, the others last: so none comes to lie
    # before a closed one. Not in between: their trigger would look through all that was taken out.
    latest_versions("m.valid_from >= i.valid_from")
    where_needed(f"""
                delete from syncer_store.image_history as h
                using moved_history as m
                where m.zone_key = h.zone_key and m.image_id = h.image_id
                  and m.old_from = h.valid_from;
                insert into syncer_store.image_history ({COPIED}, {MOVED})
                select {COPIED}, {MOVED} from moved_history
                order by zone_key, hashtextextended(image_id, 0), valid_from""")
    latest_versions("m.valid_from < i.valid_from")


def latest_versions(which: str) -> None:
    where_needed(f"""
                update syncer_store.images as i
                set first_seen_at = m.first_seen_at, valid_from = m.valid_from,
                    opened_not_before = m.opened_not_before, removed_at = m.removed_at,
                    removed_not_before = m.removed_not_before
                from moved_images as m
                where m.zone_key = i.zone_key and m.image_id = i.image_id and {which}""")


def scans() -> None:
    where_needed("""
                update syncer_store.stretches as t
                set observed = n.observed, finished = n.finished
                from (
                    select t.zone_key, t.run_id,
                           array_agg(k.new_observed order by k.run_id) as observed,
                           array_agg(k.new_finished order by k.run_id) as finished
                    from syncer_store.stretches as t
                    cross join lateral unnest(t.run_ids) as u (run_id)
                    join moved_looks as k on k.zone_key = t.zone_key and k.run_id = u.run_id
                    group by t.zone_key, t.run_id
                ) as n
                where n.zone_key = t.zone_key and n.run_id = t.run_id
                  and (n.observed, n.finished) <> (t.observed, t.finished);
                update syncer_store.zone_scans as s
                set started_at = s.started_at + m.shift, observed_at = s.observed_at + m.shift,
                    finished_at = greatest(s.finished_at, s.observed_at) + m.shift
                from moved_runs as m
                where m.run_id = s.run_id
                  and (m.shift <> interval '0' or s.finished_at < s.observed_at)""")


def runs() -> None:
    where_needed(f"""
                update syncer_store.runs as r
                set started_at = r.started_at + m.shift,
                    finished_at = case
                        when r.status = 'crashed' then greatest(
                            m.ended_at + m.shift,
                            least(r.finished_at + m.shift, m.next_at - {TICK}))
                        when r.finished_at is not null then m.ended_at + m.shift end,
                    clock_at = case when m.shift <> interval '0'
                                    then coalesce(r.clock_at, r.started_at) else r.clock_at end
                from moved_runs as m
                where m.run_id = r.run_id""")


def evidence() -> None:
    # 0010 and 0012 said of what a look in part saw that it was seen by then, where that came later
    # by its stamp: again, now that stamps are in order. Where they said so of a look that a whole
    # one followed, that left nothing missing, it is that one that saw it last.
    where_needed("""
                create temporary table looks_in_part on commit drop as
                select s.zone_key, s.run_id, s.observed_at
                from syncer_store.zone_scans as s
                join moved_runs as m on m.run_id = s.run_id and m.by_clock
                where s.status in ('incomplete', 'gone')
                  and (s.appeared, s.changed, s.returned) <> (0, 0, 0);
                create index on looks_in_part (zone_key, run_id);
                analyze looks_in_part""")
    for table, ends in (("images", "removed_at"), ("image_history", "valid_to")):
        where_needed(f"""
                update syncer_store.{table} as v
                set removed_not_before = {seen("s", "v.removed_run_id")}
                from looks_in_part as s
                where v.zone_key = s.zone_key and v.opened_run_id = s.run_id
                  and v.removed_run_id is not null
                  and coalesce(v.removed_not_before <= s.observed_at, true)
                  and s.observed_at < v.{ends};
                update syncer_store.{table} as v
                set opened_not_before = {seen("s", "v.opened_run_id")}
                from looks_in_part as s
                join syncer_store.image_history as p
                    on p.zone_key = s.zone_key and p.opened_run_id = s.run_id
                where v.zone_key = p.zone_key and v.image_id = p.image_id
                  and v.valid_from = p.valid_to and v.opened_kind = 'changed'
                  and coalesce(v.opened_not_before <= s.observed_at, true)
                  and s.observed_at < v.valid_from""")
    # What is missing still was listed by every look that left nothing missing, and by the one
    # before the first that withheld it, unless that one got no answer by id.
    where_needed(f"""
                update syncer_store.missing as m
                set last_listed_at = greatest(
                    {seen("s", "9223372036854775807")},
                    (select case when w.error_code is null then w.observed_at end
                     from syncer_store.zone_scans as w
                     where w.zone_key = s.zone_key and w.run_id > s.run_id and w.status in {WHOLE}
                       and w.finished_at < m.withheld_since
                     order by w.run_id desc limit 1))
                from syncer_store.images as i
                join looks_in_part as s on s.zone_key = i.zone_key and s.run_id = i.opened_run_id
                where m.zone_key = i.zone_key and m.image_id = i.image_id
                  and coalesce(m.last_listed_at <= s.observed_at, true)""")


def seen(look: str, upto: str) -> str:
    """When what a look in part saw was seen last before a run."""
    return f"""coalesce(
                    (select w.observed_at from syncer_store.zone_scans as w
                     where w.zone_key = {look}.zone_key and w.run_id > {look}.run_id
                       and w.run_id < {upto} and w.status in ('unchanged', 'changed')
                       and w.error_code is null
                     order by w.run_id desc limit 1), {look}.observed_at)"""


# As in 0012: the first whole look that did not list what was seen last at an instant.
FIRST = f"""
                , placed as materialized (
                    select m.zone_key, m.last_listed_at, coalesce(
                        max(s.run_id),
                        (select max(u.run_id) from syncer_store.stretches as t,
                             unnest(t.run_ids, t.observed) as u (run_id, observed_at)
                         where t.zone_key = m.zone_key and u.observed_at = m.last_listed_at),
                        (select 0 from syncer_store.retention as k
                         where k.zone_key = m.zone_key and m.last_listed_at < k.kept_from)
                        ) as run_id
                    from (select distinct zone_key, last_listed_at from missed) as m
                    left join syncer_store.zone_scans as s
                        on s.zone_key = m.zone_key and s.observed_at = m.last_listed_at
                    group by m.zone_key, m.last_listed_at
                ), first as materialized (
                    select l.zone_key, l.last_listed_at, look.run_id, look.finished_at
                    from placed as l
                    cross join lateral (
                        select s.run_id, s.finished_at from syncer_store.zone_scans as s
                        where s.zone_key = l.zone_key and s.run_id > l.run_id
                          and s.status in {WHOLE}
                        order by s.run_id limit 1
                    ) as kept
                    cross join lateral (
                        select run_id, finished_at
                        from (
                            select kept.run_id, kept.finished_at
                            union all
                            select u.run_id, u.finished_at
                            from (
                                select t.run_ids, t.finished from syncer_store.stretches as t
                                where t.zone_key = l.zone_key and t.run_id < kept.run_id
                                order by t.run_id desc limit 1
                            ) as t, unnest(t.run_ids, t.finished) as u (run_id, finished_at)
                            where u.run_id > l.run_id
                        ) as looks
                        order by run_id limit 1
                    ) as look
                )"""


def gaps_again() -> None:
    # What 0012 made of stamps that were not in order, and what it could not make of them.
    where_needed(f"""
                create temporary table gaps_again on commit drop as
                with left_missing as materialized (
                    select s.zone_key, s.run_id, next.run_id as upto
                    from syncer_store.zone_scans as s
                    join moved_runs as m using (run_id)
                    cross join lateral (
                        select n.run_id from syncer_store.zone_scans as n
                        where n.zone_key = s.zone_key and n.run_id > s.run_id
                          and n.status in {WHOLE}
                        order by n.run_id limit 1) as next
                    where s.status in {WHOLE} and (s.status = 'guarded' or s.error_code is not null)
                ), ending as materialized (
                    select s.zone_key, s.run_id
                    from left_missing as l
                    join syncer_store.zone_scans as s
                        on s.zone_key = l.zone_key and s.run_id > l.run_id and s.run_id <= l.upto
                    where (s.changed, s.removed) <> (0, 0)
                    union
                    select zone_key, ended_run_id from syncer_store.image_gaps
                ), ended as materialized (
                    select e.* from ending as e
                    join moved_runs as m on m.run_id = e.run_id and m.by_clock
                ), missed as materialized (
                    select v.zone_key, v.image_id, 'removed' as ended_by, e.run_id,
                           v.removed_at as ended_at, v.removed_not_before as last_listed_at
                    from syncer_store.images as v
                    join ended as e on e.zone_key = v.zone_key and e.run_id = v.removed_run_id
                    union all
                    select v.zone_key, v.image_id, 'removed', e.run_id, v.valid_to,
                           v.removed_not_before
                    from syncer_store.image_history as v
                    join ended as e on e.zone_key = v.zone_key and e.run_id = v.removed_run_id
                    union all
                    select v.zone_key, v.image_id, 'seen', e.run_id, v.valid_from,
                           v.opened_not_before
                    from syncer_store.images as v
                    join ended as e on e.zone_key = v.zone_key and e.run_id = v.opened_run_id
                    where v.opened_kind = 'changed'
                    union all
                    select v.zone_key, v.image_id, 'seen', e.run_id, v.valid_from,
                           v.opened_not_before
                    from syncer_store.image_history as v
                    join ended as e on e.zone_key = v.zone_key and e.run_id = v.opened_run_id
                    where v.opened_kind = 'changed'
                ) {FIRST}
                select m.zone_key, m.image_id, f.finished_at as gap_from, m.ended_at as gap_to,
                       m.ended_by, m.run_id as ended_run_id,
                       case when m.ended_by = 'seen' then s.observed_at end as seen_at,
                       m.last_listed_at, f.run_id < m.run_id as was_missing
                from missed as m
                join first as f on f.zone_key = m.zone_key and f.last_listed_at = m.last_listed_at
                left join syncer_store.zone_scans as s
                    on s.zone_key = m.zone_key and s.run_id = m.run_id;
                delete from syncer_store.image_gaps as g
                using gaps_again as a
                where a.zone_key = g.zone_key and a.image_id = g.image_id
                  and a.ended_run_id = g.ended_run_id and g.rule is null
                  and g.withheld_since is null;
                insert into syncer_store.image_gaps (zone_key, image_id, gap_from, gap_to, ended_by,
                    ended_run_id, seen_at, last_listed_at)
                select a.zone_key, a.image_id, a.gap_from, a.gap_to, a.ended_by, a.ended_run_id,
                       a.seen_at, a.last_listed_at
                from gaps_again as a
                where a.was_missing and (a.ended_by = 'removed' or a.seen_at is not null)
                  and not exists (
                      select from syncer_store.image_gaps as g
                      where g.zone_key = a.zone_key and g.image_id = a.image_id
                        and g.gap_from < a.gap_to and g.gap_to > a.gap_from)""")
    where_needed(f"""
                with missed as materialized (
                    select m.zone_key, m.last_listed_at
                    from syncer_store.missing as m
                    join moved_runs as r on r.run_id = m.since_run_id and r.by_clock
                ) {FIRST}
                update syncer_store.missing as m
                set missing_since = f.finished_at, since_run_id = f.run_id
                from first as f, moved_runs as r
                where f.zone_key = m.zone_key and f.last_listed_at = m.last_listed_at
                  and m.since_run_id <> f.run_id
                  and r.run_id = m.since_run_id and r.by_clock""")
