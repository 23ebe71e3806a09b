"""As-of questions, drift between zones, approvals of withheld removals, baselines.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)

# A zone's last whole look, or that it was gone, at or before an instant (z: zones, b: the last run
# that had begun by then). A look counts from the moment its images were stored (finished_at):
# before, an image that it found is not there to be listed, and must not be called absent.
LAST_RUN = """
                left join lateral (
                    select run_id from syncer_store.runs as r
                    where r.account = z.account and r.started_at <= at
                    order by r.started_at desc limit 1) as b on true"""
LAST_LOOK = """
                left join lateral (
                    select s.status from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id <= b.run_id and s.finished_at <= at
                      and s.status in ('unchanged', 'changed', 'guarded', 'gone')
                    order by s.run_id desc limit 1) as look on true"""


def upgrade() -> None:
    approvals()
    baselines()
    looks()
    asof()
    spread()


def approvals() -> None:
    op.execute("""
        create table syncer_store.approvals (
            approval_id  bigint generated always as identity primary key,
            zone_key     integer not null references syncer_store.zones,
            max_removals integer not null,
            approved_at  timestamptz not null default clock_timestamp(),
            approved_by  text not null,
            outcome      text,
            decided_at   timestamptz,
            run_id       bigint,
            candidates   integer,
            constraint approvals_allow_some check (max_removals > 0),
            constraint approvals_outcome check (
                outcome in ('applied', 'exceeded', 'not_needed', 'replaced')),
            constraint approvals_decided check ((outcome is null) = (decided_at is null)),
            constraint approvals_decided_by_a_run check (
                (run_id is null) = (outcome is null or outcome = 'replaced')
                and (candidates is null) = (run_id is null))
        )""")
    op.execute("""
        create unique index approvals_pending on syncer_store.approvals (zone_key)
        where outcome is null""")
    op.execute("""
        create view syncer.approvals as
        select a.approval_id, z.account, z.service, z.zone_id, a.max_removals, a.approved_at,
               a.approved_by, coalesce(a.outcome, 'pending') as outcome, a.decided_at, a.run_id,
               a.candidates
        from syncer_store.approvals as a
        join syncer_store.zones as z using (zone_key)""")
    op.execute("""
        create or replace view syncer.zones as
        select z.account, z.service, z.zone_id, z.zone_name, z.attributes, z.first_seen_at,
               seen.observed_at as last_seen_at, z.gone_at,
               whole.observed_at as last_complete_at,
               last.observed_at as last_attempt_at, last.status as last_status,
               z.present as present_images, z.withheld as withheld_removals,
               a.max_removals as approved_removals
        from syncer_store.zones as z
        left join syncer_store.approvals as a on a.zone_key = z.zone_key and a.outcome is null
        left join lateral (
            select observed_at, status from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key order by s.run_id desc limit 1) as last on true
        left join lateral (
            select observed_at from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key and s.status in ('unchanged', 'changed', 'guarded')
            order by s.run_id desc limit 1) as whole on true
        left join lateral (
            select observed_at from syncer_store.zone_scans as s
            where s.zone_key = z.zone_key and (s.listed or s.status not in ('failed', 'gone'))
            order by s.run_id desc limit 1) as seen on true""")


def baselines() -> None:
    op.execute("""
        create table syncer_store.baselines (
            baseline_id bigint generated always as identity primary key,
            name        text collate "C" not null,
            as_of       timestamptz not null,
            saved_at    timestamptz not null default clock_timestamp(),
            saved_by    text not null,
            filters     jsonb not null default '{}',
            constraint baselines_are_named unique (name)
        )""")
    op.execute("""
        create table syncer_store.baseline_images (
            baseline_id       bigint not null
                references syncer_store.baselines on delete cascade,
            zone_key          integer not null,
            image_id          text collate "C" not null,
            image_name        text,
            image_type        text,
            image_size        text,
            image_description text,
            image_version     text,
            image_status      text,
            category          text,
            os_type           text,
            primary key (baseline_id, zone_key, image_id)
        )""")
    op.execute("""
        create view syncer.baselines as
        select b.name, b.as_of, b.saved_at, b.saved_by, b.filters,
               (select count(*) from syncer_store.baseline_images as i
                where i.baseline_id = b.baseline_id) as images
        from syncer_store.baselines as b""")
    op.execute(f"""
        create view syncer.baseline_images as
        select b.name, z.account, z.service, z.zone_id, i.image_id, {TRACKED}
        from syncer_store.baselines as b
        join syncer_store.baseline_images as i using (baseline_id)
        join syncer_store.zones as z using (zone_key)""")


def looks() -> None:
    """Which zones were known at an instant; where a run's changes end in the feed."""
    op.execute("""
        create or replace view syncer.runs as
        select run_id, account, started_at, finished_at, deadline_at, status, zones,
               zones_unchanged, zones_changed, zones_incomplete, zones_failed, zones_guarded,
               zones_gone, pages, images, appeared, changed, removed, returned, withheld,
               rejected, rereads, calls, retries, error_code, error_message, selection,
               syncer_version, change_base + changes as last_change_id
        from syncer_store.runs""")
    # Runs by time, so that a zone's last look before an instant is found without an index on
    # zone_scans, which is written for every zone in every run.
    op.execute("create index runs_started on syncer_store.runs (account, started_at desc)")
    op.execute(f"""
        create function syncer.zone_coverage(at timestamptz) returns table (
            account text, service text, zone_id text, last_complete_at timestamptz,
            next_complete_at timestamptz, coverage text, gone boolean,
            last_complete_run_id bigint)
        language sql stable security definer set search_path = '' rows 100
        begin atomic
            select z.account, z.service, z.zone_id, whole.observed_at, later.observed_at,
                   case when look.status <> 'gone' then 'known' else 'unknown' end,
                   coalesce(look.status = 'gone', false), whole.run_id
            from syncer_store.zones as z {LAST_RUN} {LAST_LOOK}
                left join lateral (
                    select s.observed_at, s.run_id from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id <= b.run_id and s.finished_at <= at
                      and s.status in ('unchanged', 'changed', 'guarded')
                    order by s.run_id desc limit 1) as whole on true
                left join lateral (
                    select s.observed_at from syncer_store.zone_scans as s
                    where s.zone_key = z.zone_key and s.run_id >= coalesce(b.run_id, 0)
                      and s.finished_at > at
                      and s.status in ('unchanged', 'changed', 'guarded')
                    order by s.run_id limit 1) as later on true;
        end""")


def asof() -> None:
    # At an instant, the exclusion constraint's index answers (it holds the range), zone by zone or
    # over all: a second index on the range alone was no faster (1,000,000 versions). Between two
    # instants, what began and what ended is found by these: 0.4 s against 0.75 s.
    op.execute("create index image_history_began on syncer_store.image_history (valid_from)")
    op.execute("create index image_history_ended on syncer_store.image_history (valid_to)")
    op.execute(f"""
        create or replace view syncer.image_versions as
        select z.account, z.service, z.zone_id, v.image_id,
               {TRACKED},
               syncer_store.size_gib(v.image_size) as image_size_gib,
               v.valid_from, v.valid_to, v.run_id, v.last_listed_at
        from (
            select zone_key, image_id, {TRACKED}, valid_from, removed_at as valid_to,
                   opened_run_id as run_id,
                   coalesce(unlisted_after, removed_not_before) as last_listed_at
            from syncer_store.images
            union all
            select zone_key, image_id, {TRACKED}, valid_from, valid_to, opened_run_id,
                   removed_not_before
            from syncer_store.image_history
        ) as v
        join syncer_store.zones as z using (zone_key)""")
    op.execute("""
        comment on column syncer.image_versions.last_listed_at is
        'The last whole look that listed the image, where a later one did not (else null)'""")

    # It reads views only, so a reader may call it, and (no definer, no set) the planner takes it
    # apart: a filter on a zone or an image reaches the indexes.
    op.execute(f"""
        create function syncer.images_asof(at timestamptz) returns table (
            account text, service text, zone_id text, image_id text, image_name text,
            image_type text, image_size text, image_description text, image_version text,
            image_status text, category text, os_type text, valid_from timestamptz,
            observed_at timestamptz)
        language sql stable rows 10000
        begin atomic
            select account, service, zone_id, v.image_id, {TRACKED}, v.valid_from,
                   least(v.last_listed_at, case
                       when v.run_id <= c.last_complete_run_id then c.last_complete_at
                       else coalesce((
                           select s.observed_at from syncer.zone_scans as s
                           where (s.account, s.service, s.zone_id, s.run_id)
                               = (v.account, v.service, v.zone_id, v.run_id)), v.valid_from)
                       end)
            from syncer.image_versions as v
            join syncer.zone_coverage(at) as c using (account, service, zone_id)
            where tstzrange(v.valid_from, v.valid_to) @> at and not c.gone;
        end""")
    op.execute(f"""
        create function syncer.image_presence(
            account text, service text, zone_id text, image_id text, at timestamptz
        ) returns text language sql stable security definer set search_path = ''
        return coalesce((
            select case when look.status = 'gone' then 'unknown'
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


def spread() -> None:
    """The drift between zones: one image name, not offered alike everywhere."""
    # Compared are sets per zone: a name may stand for several versions in every zone alike.
    op.execute("""
        create view syncer.image_spread as
        with known as materialized (
            select zone_key, account, service, zone_id,
                   exists (select from syncer_store.zone_scans as s
                           where s.zone_key = z.zone_key
                             and s.status in ('unchanged', 'changed', 'guarded')) as whole
            from syncer_store.zones as z
            where gone_at is null
        ), offered as materialized (
            select k.account, k.service, k.zone_id, i.image_name, i.image_id, i.image_version,
                   i.image_status, i.image_size, coalesce(
                       trim_scale(syncer_store.size_gib(i.image_size))::text, i.image_size) as size
            from syncer_store.images as i
            join known as k using (zone_key)
            where i.removed_at is null and i.image_name is not null
        ), sets as (
            select account, service, image_name, zone_id,
                   array_agg(distinct image_version) as versions,
                   array_agg(distinct size) as sizes,
                   array_agg(distinct image_status) as statuses
            from offered
            group by account, service, image_name, zone_id
        ), compared as (
            select account, service, image_name,
                   array_agg(zone_id order by zone_id) as zones,
                   count(distinct versions) > 1 as versions_differ,
                   count(distinct sizes) > 1 as sizes_differ,
                   count(distinct statuses) > 1 as statuses_differ
            from sets
            group by account, service, image_name
        ), found as (
            select c.*, coalesce((
                       select array_agg(k.zone_id order by k.zone_id) from known as k
                       where k.account = c.account and k.service = c.service and k.whole
                         and k.zone_id <> all (c.zones)), '{}') as missing_zones
            from compared as c
        ), gathered as (
            select account, service, image_name,
                   array_agg(distinct image_version) as image_versions,
                   array_agg(distinct size) as image_sizes,
                   array_agg(distinct image_status) as image_statuses,
                   array_agg(distinct image_id) as image_ids,
                   jsonb_agg(jsonb_build_object(
                       'zone_id', zone_id, 'image_id', image_id, 'image_version', image_version,
                       'image_size', image_size, 'image_status', image_status)
                       order by zone_id, image_id) as offers
            from offered
            group by account, service, image_name
        )
        select account, service, image_name,
               array_remove(array[
                   case when f.missing_zones <> '{}' then 'zones' end,
                   case when f.versions_differ then 'image_version' end,
                   case when f.sizes_differ then 'image_size' end,
                   case when f.statuses_differ then 'image_status' end], null) as differs,
               f.zones, f.missing_zones, g.image_versions, g.image_sizes, g.image_statuses,
               g.image_ids, g.offers
        from found as f
        join gathered as g using (account, service, image_name)
        where f.missing_zones <> '{}'
           or f.versions_differ or f.sizes_differ or f.statuses_differ""")
