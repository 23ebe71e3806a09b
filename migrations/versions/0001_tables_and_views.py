"""The store (tables, ours to change) and the contract (views of schema ``syncer``).

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TRACKED = (
    "image_name, image_type, image_size, image_description, "
    "image_version, image_status, category, os_type"
)
TRACKED_COLUMNS = """
    image_name        text,
    image_type        text,
    image_size        text,
    image_description text,
    image_version     text,
    image_status      text,
    category          text,
    os_type           text"""


def upgrade() -> None:
    schemas()
    tables()
    invariants()
    views()


def schemas() -> None:
    op.execute("create schema if not exists syncer_store")
    op.execute("create schema syncer")
    op.execute("comment on schema syncer is 'Zenlayer image inventory: the views to query'")
    op.execute("comment on schema syncer_store is 'Internal tables of syncer: query schema syncer'")
    # Equality on integer and text inside a GiST index, for the exclusion constraint below.
    # Not among the views: a role named syncer would have it in the schema of its own name.
    op.execute("create extension if not exists btree_gist with schema syncer_store")
    op.execute("create type syncer_store.opening as enum ('appeared', 'changed', 'returned')")


def tables() -> None:
    op.execute("""
        create table syncer_store.runs (
            run_id            bigint generated always as identity primary key,
            account           text collate "C" not null,
            started_at        timestamptz not null default clock_timestamp(),
            finished_at       timestamptz,
            deadline_at       timestamptz not null,
            status            text not null default 'running',
            syncer_version    text not null,
            selection         jsonb not null default '{}',
            zones             integer not null default 0,
            zones_unchanged   integer not null default 0,
            zones_changed     integer not null default 0,
            zones_incomplete  integer not null default 0,
            zones_failed      integer not null default 0,
            zones_guarded     integer not null default 0,
            zones_gone        integer not null default 0,
            pages             integer not null default 0,
            images            integer not null default 0,
            appeared          integer not null default 0,
            changed           integer not null default 0,
            removed           integer not null default 0,
            returned          integer not null default 0,
            withheld          integer not null default 0,
            rejected          integer not null default 0,
            rereads           integer not null default 0,
            calls             integer not null default 0,
            retries           integer not null default 0,
            error_code        text,
            error_message     text,
            change_base       bigint,
            changes           integer not null default 0,
            constraint runs_status check (
                status in ('running', 'succeeded', 'partial', 'failed', 'crashed')),
            constraint runs_finished_when_ended check (
                (status = 'running') = (finished_at is null)),
            constraint runs_numbered_when_ended check ((status = 'running') = (change_base is null))
        )""")
    # The newest run of an account: asked in every writing transaction (fencing).
    op.execute("create index runs_newest on syncer_store.runs (account, run_id desc)")
    # The change feed walks finished runs in the order of their first change.
    op.execute("create index runs_feed on syncer_store.runs (change_base, changes)")

    op.execute("""
        create table syncer_store.zones (
            zone_key      integer generated always as identity primary key,
            account       text collate "C" not null,
            service       text collate "C" not null,
            zone_id       text collate "C" not null,
            zone_name     text,
            attributes    jsonb not null default '{}',
            first_seen_at timestamptz not null default now(),
            gone_at       timestamptz,
            present       integer not null default 0,
            withheld      integer not null default 0,
            constraint zones_are_named unique (account, service, zone_id),
            constraint zones_counts check (present >= 0 and withheld between 0 and present)
        )""")

    # Written for every zone in every run, so: one index, no foreign key (its row lock on zones
    # would cost more WAL than the row itself). zones_are_kept below makes its absence harmless.
    op.execute("""
        create table syncer_store.zone_scans (
            zone_key      integer not null,
            run_id        bigint not null,
            started_at    timestamptz not null,
            observed_at   timestamptz not null,
            finished_at   timestamptz not null default clock_timestamp(),
            status        text not null,
            listed        boolean not null,
            pages         integer not null default 0,
            images        integer not null default 0,
            appeared      integer not null default 0,
            changed       integer not null default 0,
            removed       integer not null default 0,
            returned      integer not null default 0,
            withheld      integer not null default 0,
            rejected      integer not null default 0,
            rereads       integer not null default 0,
            last_change   integer not null default 0,
            error_code    text,
            error_message text,
            request_id    text,
            primary key (zone_key, run_id),
            constraint zone_scans_status check (
                status in ('unchanged', 'changed', 'incomplete', 'failed', 'guarded', 'gone'))
        )""")

    # Each image's latest version. valid_from has a default so that COPY need not send it.
    op.execute(f"""
        create table syncer_store.images (
            zone_key           integer not null,
            image_id           text collate "C" not null,{TRACKED_COLUMNS},
            extra              jsonb,
            fingerprint        bytea not null,
            extra_digest       bytea,
            first_seen_at      timestamptz not null default now(),
            valid_from         timestamptz not null default now(),
            opened_kind        syncer_store.opening not null default 'appeared',
            opened_run_id      bigint not null,
            opened_ordinal     integer not null,
            opened_not_before  timestamptz,
            changed_fields     text[],
            removed_at         timestamptz,
            removed_run_id     bigint,
            removed_ordinal    integer,
            removed_not_before timestamptz,
            unlisted_after     timestamptz,
            withheld_since     timestamptz,
            primary key (zone_key, image_id),
            constraint images_removed_after_seen check (removed_at > valid_from),
            constraint images_removed_by_a_run check (
                (removed_at is null) = (removed_run_id is null)
                and (removed_at is null) = (removed_ordinal is null)),
            constraint images_withheld_are_present check (
                withheld_since is null or removed_at is null)
        )""")
    op.execute("""
        comment on column syncer_store.images.unlisted_after is
        'The last whole look that listed the image, where a later one did not (else null)'""")

    # Versions that were superseded or came back. Every version stands in exactly one table.
    op.execute(f"""
        create table syncer_store.image_history (
            zone_key           integer not null,
            image_id           text collate "C" not null,{TRACKED_COLUMNS},
            valid_from         timestamptz not null,
            valid_to           timestamptz not null,
            opened_kind        syncer_store.opening not null,
            opened_run_id      bigint not null,
            opened_ordinal     integer not null,
            opened_not_before  timestamptz,
            changed_fields     text[],
            removed_run_id     bigint,
            removed_ordinal    integer,
            removed_not_before timestamptz,
            primary key (zone_key, image_id, valid_from),
            constraint image_history_of_an_image foreign key (zone_key, image_id)
                references syncer_store.images,
            constraint image_history_is_an_interval check (valid_from < valid_to),
            constraint image_history_removed_by_a_run check (
                (removed_run_id is null) = (removed_ordinal is null)),
            constraint image_history_never_overlaps exclude using gist (
                zone_key with =, image_id with =, tstzrange(valid_from, valid_to) with &&)
        )""")
    # The feed and the dashboards ask for a run's changes; first looks (not_before is null) are
    # most of all rows and are not asked for that way, so they cost no index entry.
    op.execute("""
        create index images_opened on syncer_store.images (opened_run_id)
        where opened_not_before is not null""")
    op.execute("""
        create index images_removed on syncer_store.images (removed_run_id)
        where removed_run_id is not null""")
    op.execute("create index image_history_opened on syncer_store.image_history (opened_run_id)")
    op.execute("""
        create index image_history_removed on syncer_store.image_history (removed_run_id)
        where removed_run_id is not null""")

    op.execute("""
        create table syncer_store.extra_names (
            account    text collate "C" not null,
            service    text collate "C" not null,
            name       text collate "C" not null,
            run_id     bigint not null,
            primary key (account, service, name)
        )""")


def invariants() -> None:
    # The other half of "versions never overlap": no closed version reaches into the latest one.
    # Fires for changed rows only; a first load pays nothing.
    op.execute("""
        create function syncer_store.check_latest_is_last() returns trigger
        language plpgsql set search_path = '' as $$
        begin
            if exists (
                select from syncer_store.image_history as h
                join syncer_store.images as i using (zone_key, image_id)
                where h.zone_key = new.zone_key and h.image_id = new.image_id
                  and h.valid_to > i.valid_from
            ) then
                raise exception using
                    message = 'a closed version of image ' || new.image_id
                        || ' reaches past its latest version',
                    errcode = 'exclusion_violation', constraint = 'images_latest_is_last';
            end if;
            return null;
        end $$""")
    op.execute("""
        create constraint trigger images_latest_is_last
        after update of valid_from on syncer_store.images for each row
        when (old.valid_from is distinct from new.valid_from)
        execute function syncer_store.check_latest_is_last()""")
    op.execute("""
        create constraint trigger image_history_is_past
        after insert or update on syncer_store.image_history for each row
        execute function syncer_store.check_latest_is_last()""")

    # A foreign key from images to zones costs 3.5 us a row of COPY (8.4 against 4.9 without,
    # 200,000 rows, PostgreSQL 18); this costs 0.2 us and forbids the same: zones are never
    # deleted or renumbered, and each statement's new rows are checked as a set.
    op.execute("""
        create function syncer_store.refuse_zone_change() returns trigger
        language plpgsql set search_path = '' as $$
        begin
            raise exception 'zones are kept for ever: images and scans hang on zone_key'
                using errcode = 'restrict_violation', constraint = 'zones_are_kept';
        end $$""")
    op.execute("""
        create trigger zones_are_kept
        before delete or update of zone_key on syncer_store.zones for each row
        execute function syncer_store.refuse_zone_change()""")
    op.execute("""
        create function syncer_store.check_zones_exist() returns trigger
        language plpgsql set search_path = '' as $$
        begin
            if exists (
                select from (select distinct zone_key from added) as a
                where not exists (
                    select from syncer_store.zones as z where z.zone_key = a.zone_key)
            ) then
                raise exception 'images of a zone that does not exist'
                    using errcode = 'foreign_key_violation', constraint = 'images_have_a_zone';
            end if;
            return null;
        end $$""")
    op.execute("""
        create trigger images_have_a_zone
        after insert on syncer_store.images referencing new table as added
        for each statement execute function syncer_store.check_zones_exist()""")


def views() -> None:
    # The same grammar of a number as syncer/core/normalise.py (a test compares them).
    op.execute(r"""
        create function syncer_store.size_gib(size text) returns numeric
        language sql immutable strict parallel safe
        return case when size ~
            '^[ \t\n\r\f\v]*[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?[ \t\n\r\f\v]*$'
            then size::numeric end""")
    op.execute("""
        create function syncer_store.tracked_json(
            image_name text, image_type text, image_size text, image_description text,
            image_version text, image_status text, category text, os_type text
        ) returns jsonb language sql immutable parallel safe
        return jsonb_build_object(
            'image_name', image_name, 'image_type', image_type, 'image_size', image_size,
            'image_description', image_description, 'image_version', image_version,
            'image_status', image_status, 'category', category, 'os_type', os_type)""")

    op.execute(f"""
        create view syncer.images as
        select z.account, z.service, z.zone_id, i.image_id,
               {TRACKED},
               syncer_store.size_gib(i.image_size) as image_size_gib,
               coalesce(i.extra, '{{}}') as extra,
               i.fingerprint,
               case when z.gone_at is not null then 'unknown'
                    when i.removed_at is null then 'present'
                    else 'absent' end as presence,
               i.first_seen_at,
               coalesce(i.removed_at, i.valid_from) as changed_at,
               i.removed_at,
               i.withheld_since
        from syncer_store.images as i
        join syncer_store.zones as z using (zone_key)""")

    op.execute(f"""
        create view syncer.image_versions as
        select z.account, z.service, z.zone_id, v.image_id,
               {TRACKED},
               syncer_store.size_gib(v.image_size) as image_size_gib,
               v.valid_from, v.valid_to
        from (
            select zone_key, image_id, {TRACKED}, valid_from, removed_at as valid_to
            from syncer_store.images
            union all
            select zone_key, image_id, {TRACKED}, valid_from, valid_to
            from syncer_store.image_history
        ) as v
        join syncer_store.zones as z using (zone_key)""")

    version = f"""
                   zone_key, image_id, {TRACKED}, valid_from, opened_kind, opened_run_id,
                   opened_ordinal, opened_not_before, changed_fields"""
    removal = f"""
                   zone_key, image_id, {TRACKED}, removed_run_id, removed_ordinal,
                   removed_not_before"""
    op.execute(f"""
        create view syncer.image_changes as
        select r.change_base + c.ordinal as change_id,
               c.changed_at, c.not_before, c.kind,
               z.account, z.service, z.zone_id, c.image_id, c.image_name,
               c.changed_fields, c.before, c.after, c.run_id
        from (
            select v.zone_key, v.image_id, v.image_name, v.opened_run_id as run_id,
                   v.opened_ordinal as ordinal, v.valid_from as changed_at,
                   v.opened_not_before as not_before, v.opened_kind::text as kind,
                   coalesce(v.changed_fields, '{{}}') as changed_fields,
                   case when v.opened_kind <> 'appeared' then (
                       select syncer_store.tracked_json({qualified("p")})
                       from syncer_store.image_history as p
                       where p.zone_key = v.zone_key and p.image_id = v.image_id
                         and p.valid_from < v.valid_from
                       order by p.valid_from desc limit 1) end as before,
                   syncer_store.tracked_json({qualified("v")}) as after
            from (
                select {version} from syncer_store.images
                union all
                select {version} from syncer_store.image_history
            ) as v
            union all
            select v.zone_key, v.image_id, v.image_name, v.removed_run_id, v.removed_ordinal,
                   v.removed_at, v.removed_not_before, 'removed', '{{}}',
                   syncer_store.tracked_json({qualified("v")}), null
            from (
                select {removal}, removed_at from syncer_store.images
                where removed_run_id is not null
                union all
                select {removal}, valid_to from syncer_store.image_history
                where removed_run_id is not null
            ) as v
        ) as c
        join syncer_store.zones as z using (zone_key)
        join syncer_store.runs as r on r.run_id = c.run_id and r.change_base is not null""")

    op.execute("""
        create view syncer.image_field_changes as
        select c.change_id, c.changed_at, c.account, c.service, c.zone_id, c.image_id,
               c.image_name, f.field, c.before ->> f.field as old_value,
               c.after ->> f.field as new_value, c.run_id
        from syncer.image_changes as c
        cross join lateral unnest(c.changed_fields) as f (field)""")

    op.execute("""
        create view syncer.zones as
        select z.account, z.service, z.zone_id, z.zone_name, z.attributes, z.first_seen_at,
               seen.observed_at as last_seen_at, z.gone_at,
               whole.observed_at as last_complete_at,
               last.observed_at as last_attempt_at, last.status as last_status,
               z.present as present_images, z.withheld as withheld_removals
        from syncer_store.zones as z
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

    # Readers may not look into syncer_store, and must know whether they fit the schema.
    op.execute("""
        create view syncer.schema_version as
        select version_num as revision from syncer_store.alembic_version""")

    op.execute("""
        create view syncer.zone_scans as
        select s.run_id, z.account, z.service, z.zone_id, s.started_at, s.observed_at,
               s.finished_at, s.status, s.pages, s.images, s.appeared, s.changed, s.removed,
               s.returned, s.withheld, s.rejected, s.rereads, s.error_code, s.error_message,
               s.request_id
        from syncer_store.zone_scans as s
        join syncer_store.zones as z using (zone_key)""")

    op.execute("""
        create view syncer.runs as
        select run_id, account, started_at, finished_at, deadline_at, status, zones,
               zones_unchanged, zones_changed, zones_incomplete, zones_failed, zones_guarded,
               zones_gone, pages, images, appeared, changed, removed, returned, withheld,
               rejected, rereads, calls, retries, error_code, error_message, selection,
               syncer_version
        from syncer_store.runs""")


def qualified(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in TRACKED.split(", "))
