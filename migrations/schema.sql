-- The schema as it is after all migrations. Made by `make schema`, for reading: it is never run.
-- syncer holds the contract (see README.md), syncer_store the tables behind it.

-- schema syncer

CREATE SCHEMA syncer;

COMMENT ON SCHEMA syncer IS 'Zenlayer image inventory: the views to query';

-- schema syncer_store

CREATE SCHEMA syncer_store;

COMMENT ON SCHEMA syncer_store IS 'Internal tables of syncer: query schema syncer';

-- type syncer_store.opening

CREATE TYPE syncer_store.opening AS ENUM (
    'appeared',
    'changed',
    'returned'
);

-- table syncer_store.runs

CREATE TABLE syncer_store.runs (
    run_id bigint NOT NULL,
    account text NOT NULL COLLATE pg_catalog."C",
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    deadline_at timestamp with time zone NOT NULL,
    status text DEFAULT 'running'::text NOT NULL,
    syncer_version text NOT NULL,
    selection jsonb DEFAULT '{}'::jsonb NOT NULL,
    zones integer DEFAULT 0 NOT NULL,
    zones_unchanged integer DEFAULT 0 NOT NULL,
    zones_changed integer DEFAULT 0 NOT NULL,
    zones_incomplete integer DEFAULT 0 NOT NULL,
    zones_failed integer DEFAULT 0 NOT NULL,
    zones_guarded integer DEFAULT 0 NOT NULL,
    zones_gone integer DEFAULT 0 NOT NULL,
    pages integer DEFAULT 0 NOT NULL,
    images integer DEFAULT 0 NOT NULL,
    appeared integer DEFAULT 0 NOT NULL,
    changed integer DEFAULT 0 NOT NULL,
    removed integer DEFAULT 0 NOT NULL,
    returned integer DEFAULT 0 NOT NULL,
    withheld integer DEFAULT 0 NOT NULL,
    rejected integer DEFAULT 0 NOT NULL,
    rereads integer DEFAULT 0 NOT NULL,
    calls integer DEFAULT 0 NOT NULL,
    retries integer DEFAULT 0 NOT NULL,
    error_code text,
    error_message text,
    change_base bigint,
    changes integer DEFAULT 0 NOT NULL,
    clock_at timestamp with time zone,
    zones_unlisted integer DEFAULT 0 NOT NULL,
    zones_lost integer DEFAULT 0 NOT NULL,
    CONSTRAINT runs_finished_when_ended CHECK (((status = 'running'::text) = (finished_at IS NULL))),
    CONSTRAINT runs_numbered_when_ended CHECK (((status = 'running'::text) = (change_base IS NULL))),
    CONSTRAINT runs_status CHECK ((status = ANY (ARRAY['running'::text, 'succeeded'::text, 'partial'::text, 'failed'::text, 'crashed'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

COMMENT ON COLUMN syncer_store.runs.clock_at IS 'The clock when the run began: as far as started_at is ahead of it, all its stamps are (null: by as much as nothing)';

-- table syncer_store.zone_scans

CREATE TABLE syncer_store.zone_scans (
    zone_key integer NOT NULL,
    run_id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    status text NOT NULL,
    listed boolean NOT NULL,
    pages integer DEFAULT 0 NOT NULL,
    images integer DEFAULT 0 NOT NULL,
    appeared integer DEFAULT 0 NOT NULL,
    changed integer DEFAULT 0 NOT NULL,
    removed integer DEFAULT 0 NOT NULL,
    returned integer DEFAULT 0 NOT NULL,
    withheld integer DEFAULT 0 NOT NULL,
    rejected integer DEFAULT 0 NOT NULL,
    rereads integer DEFAULT 0 NOT NULL,
    last_change integer DEFAULT 0 NOT NULL,
    error_code text,
    error_message text,
    request_id text,
    amended boolean DEFAULT false NOT NULL,
    CONSTRAINT zone_scans_status CHECK ((status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'incomplete'::text, 'failed'::text, 'guarded'::text, 'gone'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

-- table syncer_store.zones

CREATE TABLE syncer_store.zones (
    zone_key integer NOT NULL,
    account text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    zone_id text NOT NULL COLLATE pg_catalog."C",
    zone_name text,
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    gone_at timestamp with time zone,
    present integer DEFAULT 0 NOT NULL,
    newest_at timestamp with time zone,
    first_run_id bigint,
    listed boolean DEFAULT true NOT NULL,
    asked_when_gone boolean DEFAULT false NOT NULL,
    key_digest bytea,
    CONSTRAINT zones_present_is_a_number CHECK ((present >= 0))
);

COMMENT ON COLUMN syncer_store.zones.newest_at IS 'The newest stamp that was written with this row: runs begin after it';

COMMENT ON COLUMN syncer_store.zones.first_run_id IS 'The run whose look was the first to read anything of the zone';

COMMENT ON COLUMN syncer_store.zones.asked_when_gone IS 'It was asked for though it is not listed: it is gone, and is not asked for again';

COMMENT ON COLUMN syncer_store.zones.key_digest IS 'Of the credentials that the zone was last read whole with (null: a token, or none)';

-- function syncer_store.newest_stamp(text)

CREATE FUNCTION syncer_store.newest_stamp(of_account text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN GREATEST((SELECT max(zones.newest_at) AS max FROM syncer_store.zones WHERE (zones.account = newest_stamp.of_account)), (SELECT GREATEST(runs.started_at, runs.finished_at) AS "greatest" FROM syncer_store.runs WHERE (runs.account = newest_stamp.of_account) ORDER BY runs.run_id DESC LIMIT 1), (SELECT GREATEST(runs.started_at, runs.finished_at) AS "greatest" FROM syncer_store.runs WHERE (runs.account = newest_stamp.of_account) ORDER BY runs.started_at DESC LIMIT 1), (SELECT max(s.finished_at) AS max FROM ((syncer_store.runs r JOIN syncer_store.zones z USING (account)) JOIN syncer_store.zone_scans s ON (((s.zone_key = z.zone_key) AND (s.run_id = r.run_id)))) WHERE ((r.account = newest_stamp.of_account) AND (r.status = 'running'::text))));

-- table syncer_store.retention

CREATE TABLE syncer_store.retention (
    zone_key integer NOT NULL,
    kept_from timestamp with time zone,
    thinned_to bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE syncer_store.retention IS 'What prune left of a zone: all from kept_from on, thinned scans up to run thinned_to';

-- table syncer_store.retirements

CREATE TABLE syncer_store.retirements (
    zone_key integer NOT NULL,
    retired_at timestamp with time zone NOT NULL,
    retired_by text NOT NULL,
    ended_at timestamp with time zone
);

COMMENT ON TABLE syncer_store.retirements IS 'When a person said that a zone is gone, until a look read it again';

-- table syncer_store.stretches

CREATE TABLE syncer_store.stretches (
    zone_key integer NOT NULL,
    run_id bigint NOT NULL,
    run_ids bigint[] NOT NULL,
    observed timestamp with time zone[] NOT NULL,
    finished timestamp with time zone[] NOT NULL,
    CONSTRAINT stretches_are_of_looks CHECK (((cardinality(run_ids) > 0) AND (cardinality(run_ids) = cardinality(observed)) AND (cardinality(run_ids) = cardinality(finished))))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

COMMENT ON TABLE syncer_store.stretches IS 'The times of scans that came to the same as the row of run_id, and the row after them';

-- function syncer.zone_coverage(timestamp with time zone, text, text, text)

CREATE FUNCTION syncer.zone_coverage(at timestamp with time zone, of_account text, of_service text DEFAULT NULL::text, of_zone_id text DEFAULT NULL::text) RETURNS TABLE(account text, service text, zone_id text, last_complete_at timestamp with time zone, next_complete_at timestamp with time zone, coverage text, gone boolean, last_complete_run_id bigint, last_complete_finished_at timestamp with time zone, next_complete_finished_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 SELECT z.account,
     z.service,
     z.zone_id,
     COALESCE(inside.observed_at, whole.observed_at) AS "coalesce",
     COALESCE(beyond.observed_at, later.observed_at) AS "coalesce",
         CASE
             WHEN (look.status <> 'gone'::text) THEN 'known'::text
             ELSE 'unknown'::text
         END AS "case",
         CASE
             WHEN (((k.kept_from IS NULL) OR (zone_coverage.at >= k.kept_from)) AND t.come) THEN COALESCE((look.status = 'gone'::text), false)
             ELSE NULL::boolean
         END AS "case",
     COALESCE(inside.run_id, whole.run_id) AS "coalesce",
     COALESCE(inside.finished_at, whole.finished_at) AS "coalesce",
     COALESCE(beyond.finished_at, later.finished_at) AS "coalesce"
    FROM ((((((((syncer_store.zones z
      LEFT JOIN syncer_store.retention k ON ((k.zone_key = z.zone_key)))
      LEFT JOIN LATERAL ( SELECT
                 CASE
                     WHEN (zone_coverage.at <= clock_timestamp()) THEN true
                     ELSE (zone_coverage.at <= syncer_store.newest_stamp(z.account))
                 END AS come) t ON (true))
      LEFT JOIN LATERAL ( SELECT r.run_id
            FROM syncer_store.runs r
           WHERE ((r.account = z.account) AND (r.started_at <= zone_coverage.at) AND t.come AND ((k.kept_from IS NULL) OR (zone_coverage.at >= k.kept_from)))
           ORDER BY r.started_at DESC
          LIMIT 1) b ON (true))
      LEFT JOIN LATERAL ( SELECT
                 CASE
                     WHEN (r.zone_key IS NULL) THEN s.status
                     ELSE 'gone'::text
                 END AS status
            FROM (( SELECT s_1.status
                    FROM syncer_store.zone_scans s_1
                   WHERE ((s_1.zone_key = z.zone_key) AND (s_1.run_id <= b.run_id) AND (s_1.finished_at <= zone_coverage.at) AND (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text, 'gone'::text])))
                   ORDER BY s_1.run_id DESC
                  LIMIT 1) s
              LEFT JOIN syncer_store.retirements r ON (((r.zone_key = z.zone_key) AND (r.retired_at <= zone_coverage.at) AND ((r.ended_at > zone_coverage.at) OR (r.ended_at IS NULL)))))
          LIMIT 1) look ON (true))
      LEFT JOIN LATERAL ( SELECT s.observed_at,
             s.finished_at,
             s.run_id
            FROM syncer_store.zone_scans s
           WHERE ((s.zone_key = z.zone_key) AND (s.run_id <= b.run_id) AND (s.finished_at <= zone_coverage.at) AND (s.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
           ORDER BY s.run_id DESC
          LIMIT 1) whole ON (true))
      LEFT JOIN LATERAL ( SELECT u.observed_at,
             u.finished_at,
             u.run_id
            FROM syncer_store.stretches t_1,
             LATERAL UNNEST(t_1.run_ids, t_1.observed, t_1.finished) u(run_id, observed_at, finished_at)
           WHERE ((t_1.zone_key = z.zone_key) AND (t_1.run_id = whole.run_id) AND (u.run_id <= b.run_id) AND (u.finished_at <= zone_coverage.at))
           ORDER BY u.run_id DESC
          LIMIT 1) inside ON (true))
      LEFT JOIN LATERAL ( SELECT u.observed_at,
             u.finished_at
            FROM syncer_store.stretches t_1,
             LATERAL UNNEST(t_1.run_ids, t_1.observed, t_1.finished) u(run_id, observed_at, finished_at)
           WHERE ((t_1.zone_key = z.zone_key) AND (t_1.run_id = whole.run_id) AND (u.run_id >= b.run_id) AND (u.finished_at > zone_coverage.at))
           ORDER BY u.run_id
          LIMIT 1) beyond ON (true))
      LEFT JOIN LATERAL ( SELECT s.observed_at,
             s.finished_at
            FROM syncer_store.zone_scans s
           WHERE ((s.zone_key = z.zone_key) AND (s.run_id >= COALESCE(b.run_id, (0)::bigint)) AND t.come AND ((k.kept_from IS NULL) OR (zone_coverage.at >= k.kept_from)) AND (s.finished_at > zone_coverage.at) AND (s.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
           ORDER BY s.run_id
          LIMIT 1) later ON (true))
   WHERE (((zone_coverage.of_account IS NULL) OR (z.account = zone_coverage.of_account)) AND ((zone_coverage.of_service IS NULL) OR (z.service = zone_coverage.of_service)) AND ((zone_coverage.of_zone_id IS NULL) OR (z.zone_id = zone_coverage.of_zone_id)));
END;

COMMENT ON FUNCTION syncer.zone_coverage(at timestamp with time zone, of_account text, of_service text, of_zone_id text) IS 'Each zone of an account (null: of all), of a service and with an id if they are given, at an instant: whether it was known what it offers';

-- function syncer_store.size_gib(text)

CREATE FUNCTION syncer_store.size_gib(size text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (size ~ '^[ \t\n\r\f\v]*[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?[ \t\n\r\f\v]*$'::text) THEN (size)::numeric ELSE NULL::numeric END;

-- function syncer_store.plain_size(text)

CREATE FUNCTION syncer_store.plain_size(size text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((trim_scale(syncer_store.size_gib(size)))::text, size);

-- function syncer_store.changed_fields(jsonb, jsonb)

CREATE FUNCTION syncer_store.changed_fields(before jsonb, after jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_remove(ARRAY[CASE WHEN ((before -> 'image_name'::text) <> (after -> 'image_name'::text)) THEN 'image_name'::text ELSE NULL::text END, CASE WHEN ((before -> 'image_type'::text) <> (after -> 'image_type'::text)) THEN 'image_type'::text ELSE NULL::text END, CASE WHEN (syncer_store.plain_size((before ->> 'image_size'::text)) IS DISTINCT FROM syncer_store.plain_size((after ->> 'image_size'::text))) THEN 'image_size'::text ELSE NULL::text END, CASE WHEN ((before -> 'image_description'::text) <> (after -> 'image_description'::text)) THEN 'image_description'::text ELSE NULL::text END, CASE WHEN ((before -> 'image_version'::text) <> (after -> 'image_version'::text)) THEN 'image_version'::text ELSE NULL::text END, CASE WHEN ((before -> 'image_status'::text) <> (after -> 'image_status'::text)) THEN 'image_status'::text ELSE NULL::text END, CASE WHEN ((before -> 'category'::text) <> (after -> 'category'::text)) THEN 'category'::text ELSE NULL::text END, CASE WHEN ((before -> 'os_type'::text) <> (after -> 'os_type'::text)) THEN 'os_type'::text ELSE NULL::text END, CASE WHEN ((before -> 'nic_network_type'::text) <> (after -> 'nic_network_type'::text)) THEN 'nic_network_type'::text ELSE NULL::text END, CASE WHEN ((before -> 'image_source'::text) <> (after -> 'image_source'::text)) THEN 'image_source'::text ELSE NULL::text END, CASE WHEN ((before -> 'min_disk_size'::text) <> (after -> 'min_disk_size'::text)) THEN 'min_disk_size'::text ELSE NULL::text END], NULL::text);

-- function syncer_store.severity(text[])

CREATE FUNCTION syncer_store.severity(fields text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (fields && ARRAY['image_status'::text, 'image_size'::text, 'min_disk_size'::text, 'nic_network_type'::text, 'os_type'::text, 'image_version'::text]) THEN 'breaking'::text WHEN (fields <> '{}'::text[]) THEN 'cosmetic'::text ELSE NULL::text END;

-- function syncer_store.shown_gib(text)

CREATE FUNCTION syncer_store.shown_gib(size text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (abs(syncer_store.size_gib(size)) < '1000000000000'::numeric) THEN trim_scale(round(syncer_store.size_gib(size), 6)) ELSE NULL::numeric END;

-- function syncer_store.tracked_json(text, text, text, text, text, text, text, text)

CREATE FUNCTION syncer_store.tracked_json(image_name text, image_type text, image_size text, image_description text, image_version text, image_status text, category text, os_type text) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object('image_name', image_name, 'image_type', image_type, 'image_size', image_size, 'image_description', image_description, 'image_version', image_version, 'image_status', image_status, 'category', category, 'os_type', os_type);

-- table syncer_store.image_gaps

CREATE TABLE syncer_store.image_gaps (
    zone_key integer NOT NULL,
    image_id text NOT NULL COLLATE pg_catalog."C",
    gap_from timestamp with time zone NOT NULL,
    gap_to timestamp with time zone NOT NULL,
    ended_by text NOT NULL,
    ended_run_id bigint NOT NULL,
    seen_at timestamp with time zone,
    last_listed_at timestamp with time zone,
    rule text,
    withheld_since timestamp with time zone,
    namesake_id text COLLATE pg_catalog."C",
    approval_id bigint,
    CONSTRAINT image_gaps_end_somehow CHECK ((((ended_by = 'seen'::text) AND (seen_at IS NOT NULL)) OR ((ended_by = 'removed'::text) AND (seen_at IS NULL))))
);

COMMENT ON TABLE syncer_store.image_gaps IS 'From the first whole look that missed an image until it was seen again or removed';

-- table syncer_store.missing

CREATE TABLE syncer_store.missing (
    zone_key integer NOT NULL,
    image_id text NOT NULL COLLATE pg_catalog."C",
    missing_since timestamp with time zone NOT NULL,
    since_run_id bigint NOT NULL,
    last_listed_at timestamp with time zone,
    looks integer DEFAULT 1 NOT NULL,
    last_run_id bigint NOT NULL,
    judged_run_id bigint,
    rule text,
    held_by_run_id bigint,
    withheld_since timestamp with time zone,
    namesake_id text COLLATE pg_catalog."C",
    approval_id bigint,
    CONSTRAINT missing_withheld_when_judged CHECK (((withheld_since IS NULL) OR (judged_run_id IS NOT NULL)))
);

COMMENT ON TABLE syncer_store.missing IS 'Images that the last whole looks did not list and that are not removed; judged_run_id: the guard has spoken (null: its run ended before), rule: which of its rules withholds it, held_by_run_id: the run whose own rule that is';

-- view syncer.image_gaps

CREATE VIEW syncer.image_gaps AS
 SELECT z.account,
    z.service,
    z.zone_id,
    g.image_id,
    g.gap_from,
    g.gap_to,
    g.ended_by,
    g.rule,
    g.withheld_since,
    g.last_listed_at,
    g.seen_at,
    g.namesake_id,
    g.approval_id
   FROM (( SELECT image_gaps.zone_key,
            image_gaps.image_id,
            image_gaps.gap_from,
            image_gaps.gap_to,
            image_gaps.ended_by,
            image_gaps.rule,
            image_gaps.withheld_since,
            image_gaps.last_listed_at,
            image_gaps.seen_at,
            image_gaps.namesake_id,
            image_gaps.approval_id
           FROM syncer_store.image_gaps
        UNION ALL
         SELECT missing.zone_key,
            missing.image_id,
            missing.missing_since,
            NULL::timestamp with time zone,
            NULL::text,
            missing.rule,
            missing.withheld_since,
            missing.last_listed_at,
            NULL::timestamp with time zone,
            missing.namesake_id,
            missing.approval_id
           FROM syncer_store.missing) g
     JOIN syncer_store.zones z USING (zone_key));

COMMENT ON VIEW syncer.image_gaps IS 'Times when it was unknown whether an image is there: from the first whole look that did not list it until it was seen again or removed';

COMMENT ON COLUMN syncer.image_gaps.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_gaps.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_gaps.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.image_gaps.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.image_gaps.gap_from IS 'When the first whole look that did not list it had ended';

COMMENT ON COLUMN syncer.image_gaps.gap_to IS 'When it was seen again or removed (null: neither yet)';

COMMENT ON COLUMN syncer.image_gaps.ended_by IS 'seen or removed (null: neither yet)';

COMMENT ON COLUMN syncer.image_gaps.rule IS 'Why it was withheld: many, turned_over, emptied, run, kind or another_key';

COMMENT ON COLUMN syncer.image_gaps.withheld_since IS 'Since when its removal was withheld';

COMMENT ON COLUMN syncer.image_gaps.last_listed_at IS 'When it was seen last before';

COMMENT ON COLUMN syncer.image_gaps.seen_at IS 'When it was seen again';

COMMENT ON COLUMN syncer.image_gaps.namesake_id IS 'An image of the same name that appeared in the look that missed this one';

COMMENT ON COLUMN syncer.image_gaps.approval_id IS 'The approval that let its removal through (null: none), as numbered in approvals';

-- table syncer_store.image_history

CREATE TABLE syncer_store.image_history (
    zone_key integer NOT NULL,
    image_id text NOT NULL COLLATE pg_catalog."C",
    image_name text,
    image_type text,
    image_size text,
    image_description text,
    image_version text,
    image_status text,
    category text,
    os_type text,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone NOT NULL,
    opened_kind syncer_store.opening NOT NULL,
    opened_run_id bigint NOT NULL,
    opened_ordinal integer NOT NULL,
    opened_not_before timestamp with time zone,
    changed_fields text[],
    removed_run_id bigint,
    removed_ordinal integer,
    removed_not_before timestamp with time zone,
    added jsonb,
    CONSTRAINT image_history_is_an_interval CHECK ((valid_from < valid_to)),
    CONSTRAINT image_history_removed_by_a_run CHECK (((removed_run_id IS NULL) = (removed_ordinal IS NULL)))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

-- table syncer_store.images

CREATE TABLE syncer_store.images (
    zone_key integer NOT NULL,
    image_id text NOT NULL COLLATE pg_catalog."C",
    image_name text,
    image_type text,
    image_size text,
    image_description text,
    image_version text,
    image_status text,
    category text,
    os_type text,
    extra jsonb,
    fingerprint bytea NOT NULL,
    extra_digest bytea,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    valid_from timestamp with time zone DEFAULT now() NOT NULL,
    opened_kind syncer_store.opening DEFAULT 'appeared'::syncer_store.opening NOT NULL,
    opened_run_id bigint NOT NULL,
    opened_ordinal integer NOT NULL,
    opened_not_before timestamp with time zone,
    changed_fields text[],
    removed_at timestamp with time zone,
    removed_run_id bigint,
    removed_ordinal integer,
    removed_not_before timestamp with time zone,
    added jsonb,
    CONSTRAINT images_removed_after_seen CHECK ((removed_at > valid_from)),
    CONSTRAINT images_removed_by_a_run CHECK ((((removed_at IS NULL) = (removed_run_id IS NULL)) AND ((removed_at IS NULL) = (removed_ordinal IS NULL))))
);

-- view syncer.image_versions

CREATE VIEW syncer.image_versions AS
 SELECT z.account,
    z.service,
    z.zone_id,
    v.image_id,
    v.image_name,
    v.image_type,
    v.image_size,
    v.image_description,
    v.image_version,
    v.image_status,
    v.category,
    v.os_type,
    syncer_store.shown_gib(v.image_size) AS image_size_gib,
    v.valid_from,
    v.valid_to,
    v.run_id,
    v.last_listed_at,
    (v.added ->> 'nic_network_type'::text) AS nic_network_type,
    (v.added ->> 'image_source'::text) AS image_source,
    (v.added ->> 'min_disk_size'::text) AS min_disk_size,
    v.added,
    (v.kind)::text AS kind,
    v.closed_kind,
    v.closed_run_id
   FROM (( SELECT i.zone_key,
            i.image_id,
            i.image_name,
            i.image_type,
            i.image_size,
            i.image_description,
            i.image_version,
            i.image_status,
            i.category,
            i.os_type,
            i.added,
            i.valid_from,
            i.removed_at AS valid_to,
            i.opened_run_id AS run_id,
                CASE
                    WHEN (i.removed_at IS NOT NULL) THEN i.removed_not_before
                    ELSE ( SELECT m.last_listed_at
                       FROM syncer_store.missing m
                      WHERE ((m.zone_key = i.zone_key) AND (m.image_id = i.image_id)))
                END AS last_listed_at,
            i.opened_kind AS kind,
                CASE
                    WHEN (i.removed_run_id IS NOT NULL) THEN 'removed'::text
                    ELSE NULL::text
                END AS closed_kind,
            i.removed_run_id AS closed_run_id
           FROM syncer_store.images i
        UNION ALL
         SELECT h.zone_key,
            h.image_id,
            h.image_name,
            h.image_type,
            h.image_size,
            h.image_description,
            h.image_version,
            h.image_status,
            h.category,
            h.os_type,
            h.added,
            h.valid_from,
            h.valid_to,
            h.opened_run_id,
            h.removed_not_before,
            h.opened_kind,
                CASE
                    WHEN (h.removed_run_id IS NOT NULL) THEN 'removed'::text
                    ELSE 'changed'::text
                END AS "case",
            COALESCE(h.removed_run_id, ( SELECT n.opened_run_id
                   FROM syncer_store.image_history n
                  WHERE ((n.zone_key = h.zone_key) AND (n.image_id = h.image_id) AND (n.valid_from = h.valid_to))), ( SELECT n.opened_run_id
                   FROM syncer_store.images n
                  WHERE ((n.zone_key = h.zone_key) AND (n.image_id = h.image_id) AND (n.valid_from = h.valid_to)))) AS "coalesce"
           FROM syncer_store.image_history h) v
     JOIN syncer_store.zones z USING (zone_key));

COMMENT ON VIEW syncer.image_versions IS 'Each state that an image was ever in, with the time from when to when';

COMMENT ON COLUMN syncer.image_versions.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_versions.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_versions.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.image_versions.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.image_versions.image_name IS 'The name of the image, as the API sent it';

COMMENT ON COLUMN syncer.image_versions.image_type IS 'Whose image it is, as the API sent it: PUBLIC_IMAGE or CUSTOM_IMAGE';

COMMENT ON COLUMN syncer.image_versions.image_size IS 'The size in GiB, as the API sent it: text, for instance 30';

COMMENT ON COLUMN syncer.image_versions.image_description IS 'The description, as the API sent it';

COMMENT ON COLUMN syncer.image_versions.image_version IS 'The version of the operating system, as the API sent it';

COMMENT ON COLUMN syncer.image_versions.image_status IS 'Whether it can be used, as the API sent it: for instance AVAILABLE';

COMMENT ON COLUMN syncer.image_versions.category IS 'The family that it belongs to, as the API sent it: for instance Ubuntu';

COMMENT ON COLUMN syncer.image_versions.os_type IS 'The kind of operating system, as the API sent it: for instance linux';

COMMENT ON COLUMN syncer.image_versions.image_size_gib IS 'The size in GiB, as a number (null: there is none, or it is beyond 10^12)';

COMMENT ON COLUMN syncer.image_versions.valid_from IS 'When this state was first seen';

COMMENT ON COLUMN syncer.image_versions.valid_to IS 'When it was first seen to be over (null: it is the current state)';

COMMENT ON COLUMN syncer.image_versions.run_id IS 'The run that saw the state first';

COMMENT ON COLUMN syncer.image_versions.last_listed_at IS 'The last whole look that listed the image, where a later one did not (else null)';

COMMENT ON COLUMN syncer.image_versions.nic_network_type IS 'Of zec: the network types it works with, as JSON (null: not known)';

COMMENT ON COLUMN syncer.image_versions.image_source IS 'Of zec: where the image comes from (null: not known)';

COMMENT ON COLUMN syncer.image_versions.min_disk_size IS 'Of zec: the smallest disk it needs, in GiB, as text (null: not known)';

COMMENT ON COLUMN syncer.image_versions.added IS 'The tracked columns beyond the first eight that the API ever sent for the image';

COMMENT ON COLUMN syncer.image_versions.kind IS 'How the state began: appeared, changed, or returned (after it was removed)';

COMMENT ON COLUMN syncer.image_versions.closed_kind IS 'How it ended: changed or removed (null: it is the current state)';

COMMENT ON COLUMN syncer.image_versions.closed_run_id IS 'The run that saw that it was over (null: it is the current state)';

-- view syncer.images

CREATE VIEW syncer.images AS
 SELECT z.account,
    z.service,
    z.zone_id,
    i.image_id,
    i.image_name,
    i.image_type,
    i.image_size,
    i.image_description,
    i.image_version,
    i.image_status,
    i.category,
    i.os_type,
    syncer_store.shown_gib(i.image_size) AS image_size_gib,
    COALESCE(i.extra, '{}'::jsonb) AS extra,
    i.fingerprint,
        CASE
            WHEN (z.gone_at IS NOT NULL) THEN 'unknown'::text
            WHEN (i.removed_at IS NOT NULL) THEN 'absent'::text
            WHEN (m.image_id IS NOT NULL) THEN 'unknown'::text
            ELSE 'present'::text
        END AS presence,
    i.first_seen_at,
    COALESCE(i.removed_at, i.valid_from) AS changed_at,
    i.removed_at,
    m.withheld_since,
        CASE
            WHEN (m.image_id IS NOT NULL) THEN m.last_listed_at
            WHEN (i.removed_at IS NOT NULL) THEN i.removed_not_before
            ELSE GREATEST(z.whole_at, g.seen_at,
            CASE
                WHEN ((i.opened_run_id > z.whole_run_id) OR (z.whole_run_id IS NULL)) THEN ( SELECT s.observed_at
                   FROM syncer_store.zone_scans s
                  WHERE ((s.zone_key = i.zone_key) AND (s.run_id = i.opened_run_id)))
                ELSE NULL::timestamp with time zone
            END)
        END AS observed_at,
    m.missing_since AS unlisted_since,
    (i.added ->> 'nic_network_type'::text) AS nic_network_type,
    (i.added ->> 'image_source'::text) AS image_source,
    (i.added ->> 'min_disk_size'::text) AS min_disk_size,
    i.added
   FROM (((syncer_store.images i
     JOIN ( SELECT z_1.zone_key,
            z_1.account,
            z_1.service,
            z_1.zone_id,
            z_1.gone_at,
            whole.run_id AS whole_run_id,
            whole.observed_at AS whole_at
           FROM (syncer_store.zones z_1
             LEFT JOIN LATERAL ( SELECT s.run_id,
                    s.observed_at
                   FROM syncer_store.zone_scans s
                  WHERE ((s.zone_key = z_1.zone_key) AND (s.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
                  ORDER BY s.run_id DESC
                 LIMIT 1) whole ON (true))) z USING (zone_key))
     LEFT JOIN syncer_store.missing m ON (((m.zone_key = i.zone_key) AND (m.image_id = i.image_id))))
     LEFT JOIN ( SELECT image_gaps.zone_key,
            image_gaps.image_id,
            max(image_gaps.seen_at) AS seen_at
           FROM syncer_store.image_gaps
          WHERE (image_gaps.ended_by = 'seen'::text)
          GROUP BY image_gaps.zone_key, image_gaps.image_id) g ON (((g.zone_key = i.zone_key) AND (g.image_id = i.image_id))));

COMMENT ON VIEW syncer.images IS 'Each image ever seen, in its current or last known state; filter by presence = ''present'' for what is offered now';

COMMENT ON COLUMN syncer.images.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.images.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.images.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.images.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.images.image_name IS 'The name of the image, as the API sent it';

COMMENT ON COLUMN syncer.images.image_type IS 'Whose image it is, as the API sent it: PUBLIC_IMAGE or CUSTOM_IMAGE';

COMMENT ON COLUMN syncer.images.image_size IS 'The size in GiB, as the API sent it: text, for instance 30';

COMMENT ON COLUMN syncer.images.image_description IS 'The description, as the API sent it';

COMMENT ON COLUMN syncer.images.image_version IS 'The version of the operating system, as the API sent it';

COMMENT ON COLUMN syncer.images.image_status IS 'Whether it can be used, as the API sent it: for instance AVAILABLE';

COMMENT ON COLUMN syncer.images.category IS 'The family that it belongs to, as the API sent it: for instance Ubuntu';

COMMENT ON COLUMN syncer.images.os_type IS 'The kind of operating system, as the API sent it: for instance linux';

COMMENT ON COLUMN syncer.images.image_size_gib IS 'The size in GiB, as a number (null: there is none, or it is beyond 10^12)';

COMMENT ON COLUMN syncer.images.extra IS 'All else that the API sent, as JSON; a change of it is no change of the image';

COMMENT ON COLUMN syncer.images.fingerprint IS 'A digest of the tracked columns as they were sent last';

COMMENT ON COLUMN syncer.images.presence IS 'present, absent, or unknown: its zone is gone, or the last whole look did not list it and it is not confirmed to be absent';

COMMENT ON COLUMN syncer.images.first_seen_at IS 'When it was first seen';

COMMENT ON COLUMN syncer.images.changed_at IS 'When its current state began: it appeared, changed, returned or was removed';

COMMENT ON COLUMN syncer.images.removed_at IS 'Since when it is confirmed to be absent (null: it is not)';

COMMENT ON COLUMN syncer.images.withheld_since IS 'Since when its removal waits for a person (null: it does not)';

COMMENT ON COLUMN syncer.images.observed_at IS 'When it was seen last';

COMMENT ON COLUMN syncer.images.unlisted_since IS 'The first whole look that did not list it, while it is neither seen again nor removed';

COMMENT ON COLUMN syncer.images.nic_network_type IS 'Of zec: the network types it works with, as JSON (null: not known)';

COMMENT ON COLUMN syncer.images.image_source IS 'Of zec: where the image comes from (null: not known)';

COMMENT ON COLUMN syncer.images.min_disk_size IS 'Of zec: the smallest disk it needs, in GiB, as text (null: not known)';

COMMENT ON COLUMN syncer.images.added IS 'The tracked columns beyond the first eight that the API ever sent for the image';

-- table syncer_store.approvals

CREATE TABLE syncer_store.approvals (
    approval_id bigint NOT NULL,
    zone_key integer NOT NULL,
    max_removals integer NOT NULL,
    approved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    approved_by text NOT NULL,
    outcome text,
    decided_at timestamp with time zone,
    run_id bigint,
    candidates integer,
    removed integer DEFAULT 0 NOT NULL,
    of_run_id bigint,
    applied_run_id bigint,
    CONSTRAINT approvals_allow_some CHECK ((max_removals > 0)),
    CONSTRAINT approvals_decided CHECK (((outcome IS NULL) = (decided_at IS NULL))),
    CONSTRAINT approvals_decided_by_a_run CHECK ((((run_id IS NULL) = ((outcome IS NULL) OR (outcome = 'replaced'::text))) AND ((candidates IS NULL) = (run_id IS NULL)))),
    CONSTRAINT approvals_outcome CHECK ((outcome = ANY (ARRAY['applied'::text, 'exceeded'::text, 'not_needed'::text, 'replaced'::text])))
);

COMMENT ON COLUMN syncer_store.approvals.of_run_id IS 'The run whose removals in this zone are approved (null: whatever the next look misses)';

-- view syncer.zones

CREATE VIEW syncer.zones AS
 SELECT z.account,
    z.service,
    z.zone_id,
    z.zone_name,
    z.attributes,
    z.first_seen_at,
    seen.observed_at AS last_seen_at,
    z.gone_at,
    whole.observed_at AS last_complete_at,
    last.observed_at AS last_attempt_at,
    last.status AS last_status,
        CASE
            WHEN (z.gone_at IS NULL) THEN (z.present - (m.missing)::integer)
            ELSE 0
        END AS present_images,
    (m.withheld)::integer AS withheld_removals,
    a.max_removals AS approved_removals,
    k.kept_from,
    z.listed,
    (whole.observed_at - (r.started_at - COALESCE(r.clock_at, r.started_at))) AS last_complete_clock,
    (m.missing)::integer AS unlisted_images,
    t.retired_by
   FROM ((((((((syncer_store.zones z
     LEFT JOIN syncer_store.approvals a ON (((a.zone_key = z.zone_key) AND (a.outcome IS NULL) AND (a.of_run_id IS NULL))))
     LEFT JOIN syncer_store.retention k ON ((k.zone_key = z.zone_key)))
     LEFT JOIN syncer_store.retirements t ON (((t.zone_key = z.zone_key) AND (t.ended_at IS NULL))))
     LEFT JOIN LATERAL ( SELECT s.observed_at,
            s.status
           FROM syncer_store.zone_scans s
          WHERE (s.zone_key = z.zone_key)
          ORDER BY s.run_id DESC
         LIMIT 1) last ON (true))
     LEFT JOIN LATERAL ( SELECT s.observed_at,
            s.run_id
           FROM syncer_store.zone_scans s
          WHERE ((s.zone_key = z.zone_key) AND (s.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
          ORDER BY s.run_id DESC
         LIMIT 1) whole ON (true))
     LEFT JOIN syncer_store.runs r ON ((r.run_id = whole.run_id)))
     LEFT JOIN LATERAL ( SELECT s.observed_at
           FROM syncer_store.zone_scans s
          WHERE ((s.zone_key = z.zone_key) AND (s.listed OR (s.status <> ALL (ARRAY['failed'::text, 'gone'::text]))))
          ORDER BY s.run_id DESC
         LIMIT 1) seen ON (true))
     CROSS JOIN LATERAL ( SELECT count(*) AS missing,
            count(m_1.withheld_since) AS withheld
           FROM syncer_store.missing m_1
          WHERE (m_1.zone_key = z.zone_key)) m);

COMMENT ON VIEW syncer.zones IS 'Each zone ever seen: how fresh what is known of it is, and how many images it has';

COMMENT ON COLUMN syncer.zones.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.zones.service IS 'vm, zec or bmc: the service of Zenlayer Cloud that has the zone';

COMMENT ON COLUMN syncer.zones.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.zones.zone_name IS 'The name of the zone, as the API sent it';

COMMENT ON COLUMN syncer.zones.attributes IS 'All else that the API says of the zone, as JSON';

COMMENT ON COLUMN syncer.zones.first_seen_at IS 'When the zone was first listed';

COMMENT ON COLUMN syncer.zones.last_seen_at IS 'When the zone was listed, or answered, last';

COMMENT ON COLUMN syncer.zones.gone_at IS 'Since when the API does not offer the zone any more (null: it does)';

COMMENT ON COLUMN syncer.zones.last_complete_at IS 'When the zone was last read whole: what is known of it is as of then';

COMMENT ON COLUMN syncer.zones.last_attempt_at IS 'When it was last tried to read the zone';

COMMENT ON COLUMN syncer.zones.last_status IS 'What came of that: see status of zone_scans';

COMMENT ON COLUMN syncer.zones.present_images IS 'Images whose presence is present; those of a gone zone are unknown';

COMMENT ON COLUMN syncer.zones.withheld_removals IS 'Images whose removal waits for a person to approve it';

COMMENT ON COLUMN syncer.zones.approved_removals IS 'Up to how many removals a pending approval allows (null: none)';

COMMENT ON COLUMN syncer.zones.kept_from IS 'Before it nothing is known of the zone any more: see syncer prune (null: all is kept)';

COMMENT ON COLUMN syncer.zones.listed IS 'Whether DescribeZones named it when its answer was last reliable';

COMMENT ON COLUMN syncer.zones.last_complete_clock IS 'The clock at the last whole look: for ages';

COMMENT ON COLUMN syncer.zones.unlisted_images IS 'Images that the last whole look did not list and that are not removed';

COMMENT ON COLUMN syncer.zones.retired_by IS 'Who said that the zone is gone for this account (null: nobody)';

-- function syncer.changes_between(timestamp with time zone, timestamp with time zone, text, text, text)

CREATE FUNCTION syncer.changes_between("from" timestamp with time zone, "to" timestamp with time zone, of_account text DEFAULT NULL::text, of_service text DEFAULT NULL::text, of_zone_id text DEFAULT NULL::text) RETURNS TABLE(kind text, account text, service text, zone_id text, image_id text, image_name text, changed_fields text[], before jsonb, after jsonb, changed_at timestamp with time zone, reason text, severity text, changed_fields_text text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 WITH zone AS MATERIALIZED (
          SELECT a.account,
             a.service,
             a.zone_id,
             (a.gone OR b.gone) AS gone,
             (a.coverage = 'known'::text) AS known_before,
             (b.coverage = 'known'::text) AS known_after,
                 CASE
                     WHEN (changes_between."from" IS NULL) THEN 'no earlier instant was given'::text
                     WHEN (changes_between."to" IS NULL) THEN 'no later instant was given'::text
                     WHEN (changes_between."from" > changes_between."to") THEN 'the earlier instant is after the later one'::text
                     WHEN (a.gone AND b.gone) THEN NULL::text
                     WHEN ((b.gone IS NULL) AND (changes_between."to" > now())) THEN 'the later instant has not come yet'::text
                     WHEN (b.gone IS NULL) THEN 'what was known at the later instant is no longer kept'::text
                     WHEN (a.gone IS NULL) THEN 'what was known at the earlier instant is no longer kept'::text
                     WHEN b.gone THEN 'the zone was gone at the later instant'::text
                     WHEN a.gone THEN 'the zone was gone at the earlier instant'::text
                     WHEN (b.coverage = 'unknown'::text) THEN 'the zone was not read whole by then'::text
                     WHEN (a.coverage = 'unknown'::text) THEN 'the zone was not read whole by the earlier instant'::text
                     ELSE NULL::text
                 END AS reason
            FROM (syncer.zone_coverage(changes_between."from", changes_between.of_account, changes_between.of_service, changes_between.of_zone_id) a(account, service, zone_id, last_complete_at, next_complete_at, coverage, gone, last_complete_run_id, last_complete_finished_at, next_complete_finished_at)
              JOIN syncer.zone_coverage(changes_between."to", changes_between.of_account, changes_between.of_service, changes_between.of_zone_id) b(account, service, zone_id, last_complete_at, next_complete_at, coverage, gone, last_complete_run_id, last_complete_finished_at, next_complete_finished_at) USING (account, service, zone_id))
           WHERE ((a.account, a.service, a.zone_id) IN ( SELECT z.account,
                     z.service,
                     z.zone_id
                    FROM syncer.zones z
                   WHERE ((z.first_seen_at <= GREATEST(changes_between."from", changes_between."to")) OR (changes_between."from" IS NULL) OR (changes_between."to" IS NULL))))
         ), missing AS MATERIALIZED (
          SELECT image_gaps.account,
             image_gaps.service,
             image_gaps.zone_id,
             image_gaps.image_id,
             bool_or(((image_gaps.gap_from <= changes_between."from") AND COALESCE((image_gaps.gap_to > changes_between."from"), true))) AS before,
             bool_or(((image_gaps.gap_from <= changes_between."to") AND COALESCE((image_gaps.gap_to > changes_between."to"), true))) AS after
            FROM syncer.image_gaps
           WHERE (((image_gaps.gap_from <= changes_between."from") AND COALESCE((image_gaps.gap_to > changes_between."from"), true)) OR ((image_gaps.gap_from <= changes_between."to") AND COALESCE((image_gaps.gap_to > changes_between."to"), true)))
           GROUP BY image_gaps.account, image_gaps.service, image_gaps.zone_id, image_gaps.image_id
         ), differences AS (
          SELECT d.account,
             d.service,
             d.zone_id,
             d.image_id,
             d.image_name,
             d.before,
             d.after,
             d.changed_at,
             f.fields,
                 CASE
                     WHEN (d.before IS NULL) THEN 'appeared'::text
                     WHEN (d.after IS NULL) THEN 'removed'::text
                     ELSE 'changed'::text
                 END AS kind
            FROM (( SELECT sides.account,
                     sides.service,
                     sides.zone_id,
                     sides.image_id,
                     COALESCE(max(sides.image_name) FILTER (WHERE sides.begun), max(sides.image_name) FILTER (WHERE (NOT sides.begun))) AS image_name,
                     (array_agg(sides.document) FILTER (WHERE (NOT sides.begun)))[1] AS before,
                     (array_agg(sides.document) FILTER (WHERE sides.begun))[1] AS after,
                     COALESCE(max(sides.changed_at) FILTER (WHERE sides.begun), max(sides.changed_at)) AS changed_at
                    FROM ( SELECT v.account,
                             v.service,
                             v.zone_id,
                             v.image_id,
                             v.image_name,
                             false AS begun,
                             v.valid_to AS changed_at,
                             (syncer_store.tracked_json(v.image_name, v.image_type, v.image_size, v.image_description, v.image_version, v.image_status, v.category, v.os_type) || COALESCE(v.added, '{}'::jsonb)) AS document
                            FROM syncer.image_versions v
                           WHERE ((v.valid_to > changes_between."from") AND (v.valid_to <= changes_between."to") AND (v.valid_from <= changes_between."from") AND ((changes_between.of_account IS NULL) OR (v.account = changes_between.of_account)) AND ((changes_between.of_service IS NULL) OR (v.service = changes_between.of_service)) AND ((changes_between.of_zone_id IS NULL) OR (v.zone_id = changes_between.of_zone_id)))
                         UNION ALL
                          SELECT v.account,
                             v.service,
                             v.zone_id,
                             v.image_id,
                             v.image_name,
                             true AS begun,
                             v.valid_from AS changed_at,
                             (syncer_store.tracked_json(v.image_name, v.image_type, v.image_size, v.image_description, v.image_version, v.image_status, v.category, v.os_type) || COALESCE(v.added, '{}'::jsonb)) AS document
                            FROM syncer.image_versions v
                           WHERE ((v.valid_from > changes_between."from") AND (v.valid_from <= changes_between."to") AND ((v.valid_to IS NULL) OR (v.valid_to > changes_between."to")) AND ((changes_between.of_account IS NULL) OR (v.account = changes_between.of_account)) AND ((changes_between.of_service IS NULL) OR (v.service = changes_between.of_service)) AND ((changes_between.of_zone_id IS NULL) OR (v.zone_id = changes_between.of_zone_id)))) sides
                   GROUP BY sides.account, sides.service, sides.zone_id, sides.image_id) d
              CROSS JOIN LATERAL ( SELECT syncer_store.changed_fields(d.before, d.after) AS fields
                  OFFSET 0) f)
         )
  SELECT d.kind,
     d.account,
     d.service,
     d.zone_id,
     d.image_id,
     d.image_name,
         CASE
             WHEN (d.kind = 'changed'::text) THEN d.fields
             ELSE '{}'::text[]
         END AS "case",
     d.before,
     d.after,
     d.changed_at,
     NULL::text AS text,
         CASE d.kind
             WHEN 'removed'::text THEN 'breaking'::text
             WHEN 'changed'::text THEN syncer_store.severity(d.fields)
             ELSE NULL::text
         END AS "case",
     array_to_string(
         CASE
             WHEN (d.kind = 'changed'::text) THEN d.fields
             ELSE NULL::text[]
         END, ', '::text) AS array_to_string
    FROM (differences d
      JOIN zone z USING (account, service, zone_id))
   WHERE ((NOT z.gone) AND (NOT ((d.account, d.service, d.zone_id, d.image_id) IN ( SELECT m.account,
             m.service,
             m.zone_id,
             m.image_id
            FROM missing m))) AND ((d.before IS NOT NULL) OR z.known_before) AND ((d.after IS NOT NULL) OR z.known_after) AND ((d.kind <> 'changed'::text) OR (d.fields <> '{}'::text[])))
 UNION ALL
  SELECT 'unknown'::text,
     m.account,
     m.service,
     m.zone_id,
     m.image_id,
     i.image_name,
     '{}'::text[],
     NULL::jsonb,
     NULL::jsonb,
     NULL::timestamp with time zone,
         CASE
             WHEN m.before THEN 'it was not listed at the earlier instant, and not confirmed absent'::text
             ELSE 'it was not listed at the later instant, and not confirmed absent'::text
         END AS "case",
     NULL::text,
     NULL::text
    FROM ((missing m
      JOIN zone z USING (account, service, zone_id))
      JOIN syncer.images i USING (account, service, zone_id, image_id))
   WHERE ((m.before <> m.after) AND (z.reason IS NULL) AND (NOT z.gone))
 UNION ALL
  SELECT 'unknown'::text,
     z.account,
     z.service,
     z.zone_id,
     NULL::text,
     NULL::text,
     '{}'::text[],
     NULL::jsonb,
     NULL::jsonb,
     NULL::timestamp with time zone,
     z.reason,
     NULL::text,
     NULL::text
    FROM zone z
   WHERE (z.reason IS NOT NULL);
END;

COMMENT ON FUNCTION syncer.changes_between("from" timestamp with time zone, "to" timestamp with time zone, of_account text, of_service text, of_zone_id text) IS 'What differs between two instants: what appeared, changed or was removed, and of which zones or images it is unknown; of an account, a service and a zone if they are given';

-- function syncer.image_counts(timestamp with time zone, timestamp with time zone, interval, text, text, text)

CREATE FUNCTION syncer.image_counts("from" timestamp with time zone, "to" timestamp with time zone, step interval, of_account text, of_service text DEFAULT NULL::text, of_zone_id text DEFAULT NULL::text) RETURNS TABLE(at timestamp with time zone, account text, service text, zone_id text, images bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 WITH instants AS MATERIALIZED (
          SELECT array_agg(t_1.t ORDER BY t_1.t) AS all_of_them
            FROM generate_series(image_counts."from", image_counts."to", image_counts.step) t_1(t)
         ), spans AS (
          SELECT v.account,
             v.service,
             v.zone_id,
                 CASE
                     WHEN ((v.kind <> 'changed'::text) OR (v.valid_from <= b.at)) THEN v.valid_from
                     ELSE NULL::timestamp with time zone
                 END AS since,
                 CASE
                     WHEN (v.closed_kind = 'removed'::text) THEN v.valid_to
                     ELSE NULL::timestamp with time zone
                 END AS until,
             1 AS one
            FROM (syncer.image_versions v
              JOIN ( SELECT z.account,
                     z.service,
                     z.zone_id,
                     GREATEST(image_counts."from", z.kept_from) AS at
                    FROM syncer.zones z
                   WHERE (((image_counts.of_account IS NULL) OR (z.account = image_counts.of_account)) AND ((image_counts.of_service IS NULL) OR (z.service = image_counts.of_service)) AND ((image_counts.of_zone_id IS NULL) OR (z.zone_id = image_counts.of_zone_id)))) b USING (account, service, zone_id))
           WHERE ((v.valid_from <= image_counts."to") AND ((v.valid_to > image_counts."from") OR (v.valid_to IS NULL)) AND ((v.valid_to > b.at) OR (v.valid_to IS NULL)) AND ((v.kind <> 'changed'::text) OR (v.valid_from <= b.at) OR (v.closed_kind = 'removed'::text)) AND ((image_counts.of_account IS NULL) OR (v.account = image_counts.of_account)) AND ((image_counts.of_service IS NULL) OR (v.service = image_counts.of_service)) AND ((image_counts.of_zone_id IS NULL) OR (v.zone_id = image_counts.of_zone_id)))
         UNION ALL
          SELECT g.account,
             g.service,
             g.zone_id,
             g.gap_from,
             g.gap_to,
             '-1'::integer
            FROM syncer.image_gaps g
           WHERE ((g.gap_from <= image_counts."to") AND ((g.gap_to > image_counts."from") OR (g.gap_to IS NULL)) AND ((image_counts.of_account IS NULL) OR (g.account = image_counts.of_account)) AND ((image_counts.of_service IS NULL) OR (g.service = image_counts.of_service)) AND ((image_counts.of_zone_id IS NULL) OR (g.zone_id = image_counts.of_zone_id)))
         ), steps AS (
          SELECT s_1.account,
             s_1.service,
             s_1.zone_id,
             e.place,
             sum(e.one) AS more
            FROM ((spans s_1
              CROSS JOIN instants i_1)
              CROSS JOIN LATERAL ( VALUES (width_bucket((s_1.since - '00:00:00.000001'::interval), i_1.all_of_them),s_1.one), (width_bucket((s_1.until - '00:00:00.000001'::interval), i_1.all_of_them),(- s_1.one))) e(place, one))
           WHERE (e.place < cardinality(i_1.all_of_them))
           GROUP BY s_1.account, s_1.service, s_1.zone_id, e.place
         )
  SELECT t.at,
     c.account,
     c.service,
     c.zone_id,
         CASE
             WHEN (c.coverage = 'known'::text) THEN (COALESCE(sum(s.more) OVER (PARTITION BY c.account, c.service, c.zone_id ORDER BY t.at), (0)::numeric))::bigint
             ELSE NULL::bigint
         END AS "case"
    FROM (((instants i
      CROSS JOIN LATERAL unnest(i.all_of_them) WITH ORDINALITY t(at, place))
      CROSS JOIN LATERAL syncer.zone_coverage(t.at, image_counts.of_account, image_counts.of_service, image_counts.of_zone_id) c(account, service, zone_id, last_complete_at, next_complete_at, coverage, gone, last_complete_run_id, last_complete_finished_at, next_complete_finished_at))
      LEFT JOIN steps s ON (((s.account = c.account) AND (s.service = c.service) AND (s.zone_id = c.zone_id) AND (s.place = (t.place - 1)))));
END;

COMMENT ON FUNCTION syncer.image_counts("from" timestamp with time zone, "to" timestamp with time zone, step interval, of_account text, of_service text, of_zone_id text) IS 'How many images each zone of an account (null: of all), of a service and with an id if they are given, had at each instant from one to another; null where that was unknown';

-- function syncer.image_counts(timestamp with time zone, timestamp with time zone, interval)

CREATE FUNCTION syncer.image_counts("from" timestamp with time zone, "to" timestamp with time zone, step interval) RETURNS TABLE(at timestamp with time zone, account text, service text, zone_id text, images bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT image_counts.at,
     image_counts.account,
     image_counts.service,
     image_counts.zone_id,
     image_counts.images
    FROM syncer.image_counts(image_counts."from", image_counts."to", image_counts.step, NULL::text, NULL::text, NULL::text) image_counts(at, account, service, zone_id, images);
END;

COMMENT ON FUNCTION syncer.image_counts("from" timestamp with time zone, "to" timestamp with time zone, step interval) IS 'How many images each zone had at each instant from one to another, step by step; null where that was unknown';

-- function syncer.image_presence(text, text, text, text, timestamp with time zone)

CREATE FUNCTION syncer.image_presence(account text, service text, zone_id text, image_id text, at timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN COALESCE((SELECT CASE WHEN ((NOT t.come) OR (image_presence.at < k.kept_from) OR (look.status = 'gone'::text)) THEN 'unknown'::text WHEN (EXISTS (SELECT FROM syncer_store.missing m WHERE ((m.zone_key = z.zone_key) AND (m.image_id = image_presence.image_id) AND (m.missing_since <= image_presence.at)))) THEN 'unknown'::text WHEN (EXISTS (SELECT FROM syncer_store.image_gaps g WHERE ((g.zone_key = z.zone_key) AND (g.image_id = image_presence.image_id) AND (g.gap_from <= image_presence.at) AND (g.gap_to > image_presence.at)))) THEN 'unknown'::text WHEN (EXISTS (SELECT FROM syncer_store.images i WHERE ((i.zone_key = z.zone_key) AND (i.image_id = image_presence.image_id) AND (tstzrange(i.valid_from, i.removed_at) @> image_presence.at)))) THEN 'present'::text WHEN (EXISTS (SELECT FROM syncer_store.image_history i WHERE ((i.zone_key = z.zone_key) AND (i.image_id = image_presence.image_id) AND (tstzrange(i.valid_from, i.valid_to) @> image_presence.at)))) THEN 'present'::text WHEN (look.status IS NOT NULL) THEN 'absent'::text ELSE 'unknown'::text END AS "case" FROM ((((syncer_store.zones z LEFT JOIN syncer_store.retention k ON ((k.zone_key = z.zone_key))) LEFT JOIN LATERAL (SELECT CASE WHEN (image_presence.at <= clock_timestamp()) THEN true ELSE (image_presence.at <= syncer_store.newest_stamp(z.account)) END AS come) t ON (true)) LEFT JOIN LATERAL (SELECT r.run_id FROM syncer_store.runs r WHERE ((r.account = z.account) AND (r.started_at <= image_presence.at) AND t.come AND ((k.kept_from IS NULL) OR (image_presence.at >= k.kept_from))) ORDER BY r.started_at DESC LIMIT 1) b ON (true)) LEFT JOIN LATERAL (SELECT CASE WHEN (r.zone_key IS NULL) THEN s.status ELSE 'gone'::text END AS status FROM ((SELECT s_1.status FROM syncer_store.zone_scans s_1 WHERE ((s_1.zone_key = z.zone_key) AND (s_1.run_id <= b.run_id) AND (s_1.finished_at <= image_presence.at) AND (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text, 'gone'::text]))) ORDER BY s_1.run_id DESC LIMIT 1) s LEFT JOIN syncer_store.retirements r ON (((r.zone_key = z.zone_key) AND (r.retired_at <= image_presence.at) AND ((r.ended_at > image_presence.at) OR (r.ended_at IS NULL))))) LIMIT 1) look ON (true)) WHERE ((z.account = image_presence.account) AND (z.service = image_presence.service) AND (z.zone_id = image_presence.zone_id))), 'unknown'::text);

COMMENT ON FUNCTION syncer.image_presence(account text, service text, zone_id text, image_id text, at timestamp with time zone) IS 'Whether an image was present, absent or unknown at an instant; unknown: nobody looked, or what was seen does not say';

-- view syncer.zone_scans

CREATE VIEW syncer.zone_scans AS
 SELECT s.run_id,
    z.account,
    z.service,
    z.zone_id,
    s.started_at,
    s.observed_at,
    s.finished_at,
    s.status,
    s.pages,
    s.images,
    s.appeared,
    s.changed,
    s.removed,
    s.returned,
    s.withheld,
    s.rejected,
    s.rereads,
    s.error_code,
    s.error_message,
    s.request_id,
    (1 + COALESCE(cardinality(t.run_ids), 0)) AS looks
   FROM ((syncer_store.zone_scans s
     JOIN syncer_store.zones z USING (zone_key))
     LEFT JOIN syncer_store.stretches t ON (((t.zone_key = s.zone_key) AND (t.run_id = s.run_id))));

COMMENT ON VIEW syncer.zone_scans IS 'Each attempt to read a zone, and what came of it';

COMMENT ON COLUMN syncer.zone_scans.run_id IS 'The run that it is part of';

COMMENT ON COLUMN syncer.zone_scans.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.zone_scans.service IS 'vm, zec or bmc: the service of Zenlayer Cloud that has the zone';

COMMENT ON COLUMN syncer.zone_scans.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.zone_scans.started_at IS 'When it began';

COMMENT ON COLUMN syncer.zone_scans.observed_at IS 'Just before the first page was asked for: what was seen is as of then';

COMMENT ON COLUMN syncer.zone_scans.finished_at IS 'When what came of it was stored';

COMMENT ON COLUMN syncer.zone_scans.status IS 'Read whole: unchanged, changed, or guarded (removals wait for a person); else incomplete (it did not add up), failed (nothing was read), gone (the zone is not offered)';

COMMENT ON COLUMN syncer.zone_scans.pages IS 'Pages that were read';

COMMENT ON COLUMN syncer.zone_scans.images IS 'Images that were read';

COMMENT ON COLUMN syncer.zone_scans.appeared IS 'Images that were not known before';

COMMENT ON COLUMN syncer.zone_scans.changed IS 'Images of which a tracked column changed';

COMMENT ON COLUMN syncer.zone_scans.removed IS 'Images that were confirmed to be absent';

COMMENT ON COLUMN syncer.zone_scans.returned IS 'Images that were removed before and are there again';

COMMENT ON COLUMN syncer.zone_scans.withheld IS 'Images whose removal waits for a person to approve it';

COMMENT ON COLUMN syncer.zone_scans.rejected IS 'Rows of the API that cannot be kept, for instance without an id';

COMMENT ON COLUMN syncer.zone_scans.rereads IS 'How often the zone was read again, as what was read did not add up';

COMMENT ON COLUMN syncer.zone_scans.error_code IS 'Why it was not read whole, or what was not answered: a short name';

COMMENT ON COLUMN syncer.zone_scans.error_message IS 'The same, in words';

COMMENT ON COLUMN syncer.zone_scans.request_id IS 'The number by which the support of Zenlayer finds the call that failed';

COMMENT ON COLUMN syncer.zone_scans.looks IS 'The scans that this row stands for: its own, and those after it that came to the same';

-- function syncer.images_asof(timestamp with time zone, text, text, text)

CREATE FUNCTION syncer.images_asof(at timestamp with time zone, of_account text, of_service text DEFAULT NULL::text, of_zone_id text DEFAULT NULL::text) RETURNS TABLE(account text, service text, zone_id text, image_id text, image_name text, image_type text, image_size text, image_description text, image_version text, image_status text, category text, os_type text, valid_from timestamp with time zone, observed_at timestamp with time zone, nic_network_type text, image_source text, min_disk_size text, added jsonb)
    LANGUAGE sql STABLE ROWS 10000
    BEGIN ATOMIC
 SELECT v.account,
     v.service,
     v.zone_id,
     v.image_id,
     v.image_name,
     v.image_type,
     v.image_size,
     v.image_description,
     v.image_version,
     v.image_status,
     v.category,
     v.os_type,
     v.valid_from,
     GREATEST(s.seen_at,
         CASE
             WHEN (v.run_id <= c.last_complete_run_id) THEN c.last_complete_at
             ELSE COALESCE(( SELECT s_1.observed_at
                FROM syncer.zone_scans s_1
               WHERE ((s_1.account = v.account) AND (s_1.service = v.service) AND (s_1.zone_id = v.zone_id) AND (s_1.run_id = v.run_id))), v.valid_from)
         END) AS "greatest",
     v.nic_network_type,
     v.image_source,
     v.min_disk_size,
     v.added
    FROM ((syncer.image_versions v
      JOIN syncer.zone_coverage(images_asof.at, images_asof.of_account, images_asof.of_service, images_asof.of_zone_id) c(account, service, zone_id, last_complete_at, next_complete_at, coverage, gone, last_complete_run_id, last_complete_finished_at, next_complete_finished_at) USING (account, service, zone_id))
      LEFT JOIN ( SELECT image_gaps.account,
             image_gaps.service,
             image_gaps.zone_id,
             image_gaps.image_id,
             max(image_gaps.seen_at) AS seen_at
            FROM syncer.image_gaps
           WHERE ((image_gaps.ended_by = 'seen'::text) AND (image_gaps.gap_to <= images_asof.at))
           GROUP BY image_gaps.account, image_gaps.service, image_gaps.zone_id, image_gaps.image_id) s USING (account, service, zone_id, image_id))
   WHERE ((tstzrange(v.valid_from, v.valid_to) @> images_asof.at) AND (NOT c.gone) AND ((images_asof.of_account IS NULL) OR (v.account = images_asof.of_account)) AND ((images_asof.of_service IS NULL) OR (v.service = images_asof.of_service)) AND ((images_asof.of_zone_id IS NULL) OR (v.zone_id = images_asof.of_zone_id)) AND (NOT ((v.account, v.service, v.zone_id, v.image_id) IN ( SELECT g.account,
             g.service,
             g.zone_id,
             g.image_id
            FROM syncer.image_gaps g
           WHERE ((g.gap_from <= images_asof.at) AND ((g.gap_to > images_asof.at) OR (g.gap_to IS NULL)))))));
END;

COMMENT ON FUNCTION syncer.images_asof(at timestamp with time zone, of_account text, of_service text, of_zone_id text) IS 'The images that were present at an instant in the zones of an account (null: of all), of a service and with an id if they are given';

-- function syncer.images_asof(timestamp with time zone)

CREATE FUNCTION syncer.images_asof(at timestamp with time zone) RETURNS TABLE(account text, service text, zone_id text, image_id text, image_name text, image_type text, image_size text, image_description text, image_version text, image_status text, category text, os_type text, valid_from timestamp with time zone, observed_at timestamp with time zone, nic_network_type text, image_source text, min_disk_size text, added jsonb)
    LANGUAGE sql STABLE ROWS 10000
    BEGIN ATOMIC
 SELECT images_asof.account,
     images_asof.service,
     images_asof.zone_id,
     images_asof.image_id,
     images_asof.image_name,
     images_asof.image_type,
     images_asof.image_size,
     images_asof.image_description,
     images_asof.image_version,
     images_asof.image_status,
     images_asof.category,
     images_asof.os_type,
     images_asof.valid_from,
     images_asof.observed_at,
     images_asof.nic_network_type,
     images_asof.image_source,
     images_asof.min_disk_size,
     images_asof.added
    FROM syncer.images_asof(images_asof.at, NULL::text, NULL::text, NULL::text) images_asof(account, service, zone_id, image_id, image_name, image_type, image_size, image_description, image_version, image_status, category, os_type, valid_from, observed_at, nic_network_type, image_source, min_disk_size, added);
END;

COMMENT ON FUNCTION syncer.images_asof(at timestamp with time zone) IS 'The images that were present at an instant, as they were then';

-- function syncer_store.plain_name(text)

CREATE FUNCTION syncer_store.plain_name(name text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $_$
        declare
            small text := btrim(lower(name collate "C"), E' \t\n\x0b\f\r');
            unstamped text;
        begin
            if length(name) > 500 then
                return null;
            end if;
            unstamped := coalesce(nullif(regexp_replace(small, '(?:[ \t\n\v\f\r._(\[,@-]+(?:v?20[0-9]{2}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])|[-._/](?:0[1-9]|1[0-2])[-._/](?:0[1-9]|[12][0-9]|3[01]))(?:[t _-]?(?:[01][0-9]|2[0-3]):?[0-5][0-9](?::?[0-5][0-9])?z?)?(?:[.-][0-9]{1,2})?|v?1[4-9][0-9]{8}|build[ ._:#-]{0,2}[0-9]+(?:[.][0-9]+)*)[\])]*)+$', ''), ''), small);
            return nullif(regexp_replace(
                regexp_replace(unstamped, '[ \t\n\v\f\r]+', ' ', 'g'),
                '(?<![0-9]) | (?![0-9])', '', 'g'), '');
        end $_$;

-- view syncer.image_replacements

CREATE VIEW syncer.image_replacements AS
 SELECT z.account,
    z.service,
    z.zone_id,
    o.image_id,
    o.image_name,
    o.image_version,
    o.removed_at,
    NULL::timestamp with time zone AS unlisted_since,
    NULL::timestamp with time zone AS withheld_since,
    (n.candidate)::integer AS candidate,
    n.rule,
    n.image_id AS replacement_id,
    n.image_name AS replacement_name,
    n.image_version AS replacement_version,
    n.image_status AS replacement_status,
    n.came_at AS replacement_since
   FROM ((syncer_store.images o
     JOIN syncer_store.zones z ON ((z.zone_key = o.zone_key)))
     CROSS JOIN LATERAL ( SELECT i.image_id,
            i.image_name,
            i.image_version,
            i.image_status,
            came.at AS came_at,
                CASE
                    WHEN (i.image_name = o.image_name) THEN 'same_name'::text
                    ELSE 'similar_name'::text
                END AS rule,
            row_number() OVER (ORDER BY (i.image_name = o.image_name) DESC, came.at DESC, i.image_id) AS candidate
           FROM (syncer_store.images i
             CROSS JOIN LATERAL ( SELECT
                        CASE
                            WHEN (i.opened_kind <> 'changed'::syncer_store.opening) THEN i.valid_from
                            ELSE COALESCE(( SELECT h.valid_from
                               FROM syncer_store.image_history h
                              WHERE ((h.zone_key = i.zone_key) AND (h.image_id = i.image_id) AND (h.opened_kind <> 'changed'::syncer_store.opening))
                              ORDER BY h.valid_from DESC
                             LIMIT 1), i.first_seen_at)
                        END AS at) came)
          WHERE ((i.zone_key = o.zone_key) AND (syncer_store.plain_name(i.image_name) = syncer_store.plain_name(o.image_name)) AND (i.opened_not_before IS NOT NULL) AND (i.removed_at IS NULL) AND (NOT (EXISTS ( SELECT
                   FROM syncer_store.missing m
                  WHERE ((m.zone_key = i.zone_key) AND (m.image_id = i.image_id))))) AND (i.image_id <> o.image_id) AND (came.at > o.first_seen_at) AND (lower(((ROW(i.image_type, i.category, i.os_type))::text COLLATE "C")) = lower(((ROW(o.image_type, o.category, o.os_type))::text COLLATE "C"))))) n)
  WHERE ((z.gone_at IS NULL) AND (o.removed_run_id IS NOT NULL))
UNION ALL
 SELECT z.account,
    z.service,
    z.zone_id,
    o.image_id,
    o.image_name,
    o.image_version,
    NULL::timestamp with time zone AS removed_at,
    w.missing_since AS unlisted_since,
    w.withheld_since,
    (n.candidate)::integer AS candidate,
    n.rule,
    n.image_id AS replacement_id,
    n.image_name AS replacement_name,
    n.image_version AS replacement_version,
    n.image_status AS replacement_status,
    n.came_at AS replacement_since
   FROM (((syncer_store.missing w
     JOIN syncer_store.images o ON (((o.zone_key = w.zone_key) AND (o.image_id = w.image_id))))
     JOIN syncer_store.zones z ON ((z.zone_key = o.zone_key)))
     CROSS JOIN LATERAL ( SELECT i.image_id,
            i.image_name,
            i.image_version,
            i.image_status,
            came.at AS came_at,
                CASE
                    WHEN (i.image_name = o.image_name) THEN 'same_name'::text
                    ELSE 'similar_name'::text
                END AS rule,
            row_number() OVER (ORDER BY (i.image_name = o.image_name) DESC, came.at DESC, i.image_id) AS candidate
           FROM (syncer_store.images i
             CROSS JOIN LATERAL ( SELECT
                        CASE
                            WHEN (i.opened_kind <> 'changed'::syncer_store.opening) THEN i.valid_from
                            ELSE COALESCE(( SELECT h.valid_from
                               FROM syncer_store.image_history h
                              WHERE ((h.zone_key = i.zone_key) AND (h.image_id = i.image_id) AND (h.opened_kind <> 'changed'::syncer_store.opening))
                              ORDER BY h.valid_from DESC
                             LIMIT 1), i.first_seen_at)
                        END AS at) came)
          WHERE ((i.zone_key = o.zone_key) AND (syncer_store.plain_name(i.image_name) = syncer_store.plain_name(o.image_name)) AND (i.opened_not_before IS NOT NULL) AND (i.removed_at IS NULL) AND (NOT (EXISTS ( SELECT
                   FROM syncer_store.missing m
                  WHERE ((m.zone_key = i.zone_key) AND (m.image_id = i.image_id))))) AND (i.image_id <> o.image_id) AND (came.at > o.first_seen_at) AND (lower(((ROW(i.image_type, i.category, i.os_type))::text COLLATE "C")) = lower(((ROW(o.image_type, o.category, o.os_type))::text COLLATE "C"))))) n)
  WHERE (z.gone_at IS NULL);

COMMENT ON VIEW syncer.image_replacements IS 'Images that went (removed, withheld or not listed), and what came to their zone under the same name: what to pin instead';

COMMENT ON COLUMN syncer.image_replacements.account IS 'The credentials that both were read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_replacements.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose images they are';

COMMENT ON COLUMN syncer.image_replacements.zone_id IS 'The zone of both, by its id in the API';

COMMENT ON COLUMN syncer.image_replacements.image_id IS 'The image that went, by its id in the API';

COMMENT ON COLUMN syncer.image_replacements.image_name IS 'Its name when it was seen last';

COMMENT ON COLUMN syncer.image_replacements.image_version IS 'Its version when it was seen last';

COMMENT ON COLUMN syncer.image_replacements.removed_at IS 'Since when it is confirmed to be absent (null: it is not)';

COMMENT ON COLUMN syncer.image_replacements.unlisted_since IS 'The first whole look that did not list it (null: it is confirmed absent)';

COMMENT ON COLUMN syncer.image_replacements.withheld_since IS 'Since when its removal waits for a person (null: it does not)';

COMMENT ON COLUMN syncer.image_replacements.candidate IS 'Which one it is: 1 is the likeliest; the same name first, then the newest';

COMMENT ON COLUMN syncer.image_replacements.rule IS 'same_name, or similar_name: but for case, blanks and a date or build at the end';

COMMENT ON COLUMN syncer.image_replacements.replacement_id IS 'The image that is there instead, by its id in the API';

COMMENT ON COLUMN syncer.image_replacements.replacement_name IS 'Its name';

COMMENT ON COLUMN syncer.image_replacements.replacement_version IS 'Its version: look whether it is the one that you want';

COMMENT ON COLUMN syncer.image_replacements.replacement_status IS 'Whether it can be used: for instance AVAILABLE';

COMMENT ON COLUMN syncer.image_replacements.replacement_since IS 'When it came to the zone';

-- function syncer.pin_status(text, text, text, text)

CREATE FUNCTION syncer.pin_status(of_zone_id text, of_image_id text, of_account text DEFAULT NULL::text, of_service text DEFAULT NULL::text) RETURNS TABLE(account text, service text, zone_id text, image_id text, image_name text, status text, since timestamp with time zone, reason text, observed_at timestamp with time zone, last_complete_at timestamp with time zone, withheld_since timestamp with time zone, replacement_id text, replacement_name text, replacement_rule text, replacements integer)
    LANGUAGE sql STABLE ROWS 1
    BEGIN ATOMIC
 SELECT i.account,
     i.service,
     i.zone_id,
     i.image_id,
     i.image_name,
         CASE i.presence
             WHEN 'absent'::text THEN 'removed'::text
             ELSE i.presence
         END AS presence,
         CASE
             WHEN (z.gone_at IS NOT NULL) THEN z.gone_at
             ELSE COALESCE(i.removed_at, i.unlisted_since, i.changed_at)
         END AS "coalesce",
         CASE
             WHEN (z.gone_at IS NOT NULL) THEN 'the zone is gone'::text
             WHEN (i.presence = 'absent'::text) THEN 'confirmed absent'::text
             WHEN (i.withheld_since IS NOT NULL) THEN 'not listed, not confirmed absent; its removal is withheld'::text
             WHEN (i.presence = 'unknown'::text) THEN 'not listed, not confirmed absent'::text
             ELSE NULL::text
         END AS "case",
     i.observed_at,
     z.last_complete_at,
     i.withheld_since,
     r.replacement_id,
     r.replacement_name,
     r.rule,
     r.replacements
    FROM ((syncer.images i
      JOIN syncer.zones z USING (account, service, zone_id))
      LEFT JOIN LATERAL ( SELECT r_1.replacement_id,
             r_1.replacement_name,
             r_1.rule,
             (count(*) OVER ())::integer AS replacements
            FROM syncer.image_replacements r_1
           WHERE ((r_1.account = i.account) AND (r_1.service = i.service) AND (r_1.zone_id = i.zone_id) AND (r_1.image_id = i.image_id))
           ORDER BY r_1.candidate
          LIMIT 1) r ON ((i.presence <> 'present'::text)))
   WHERE ((i.zone_id = pin_status.of_zone_id) AND (i.image_id = pin_status.of_image_id) AND ((pin_status.of_account IS NULL) OR (i.account = pin_status.of_account)) AND ((pin_status.of_service IS NULL) OR (i.service = pin_status.of_service)))
 UNION ALL
  SELECT
         CASE
             WHEN (n.zones = 1) THEN n.account
             ELSE pin_status.of_account
         END AS of_account,
         CASE
             WHEN (n.zones = 1) THEN n.service
             ELSE pin_status.of_service
         END AS of_service,
     pin_status.of_zone_id AS of_zone_id,
     pin_status.of_image_id AS of_image_id,
     NULL::text,
     'unknown'::text,
     NULL::timestamp with time zone,
         CASE
             WHEN (n.zones = 0) THEN 'no such zone is known'::text
             WHEN n.gone THEN 'never seen, but the zone is gone'::text
             WHEN n.unread THEN 'never seen, but the zone was never read whole'::text
             ELSE 'never seen in this zone; is the id right?'::text
         END AS "case",
     NULL::timestamp with time zone,
         CASE
             WHEN (NOT n.unread) THEN n.last_complete_at
             ELSE NULL::timestamp with time zone
         END AS "case",
     NULL::timestamp with time zone,
     NULL::text,
     NULL::text,
     NULL::text,
     NULL::integer
    FROM ( SELECT count(*) AS zones,
             min(z.account) AS account,
             min(z.service) AS service,
             min(z.last_complete_at) AS last_complete_at,
             COALESCE(bool_and((z.gone_at IS NOT NULL)), false) AS gone,
             COALESCE(bool_or((z.last_complete_at IS NULL)), true) AS unread
            FROM syncer.zones z
           WHERE ((z.zone_id = pin_status.of_zone_id) AND ((pin_status.of_account IS NULL) OR (z.account = pin_status.of_account)) AND ((pin_status.of_service IS NULL) OR (z.service = pin_status.of_service)))) n
   WHERE (NOT (EXISTS ( SELECT
            FROM syncer.images i
           WHERE ((i.zone_id = pin_status.of_zone_id) AND (i.image_id = pin_status.of_image_id) AND ((pin_status.of_account IS NULL) OR (i.account = pin_status.of_account)) AND ((pin_status.of_service IS NULL) OR (i.service = pin_status.of_service))))));
END;

COMMENT ON FUNCTION syncer.pin_status(of_zone_id text, of_image_id text, of_account text, of_service text) IS 'What became of an image that is used somewhere, by zone and id: present, removed or unknown, since when, and what is there instead';

-- function syncer.zone_coverage(timestamp with time zone)

CREATE FUNCTION syncer.zone_coverage(at timestamp with time zone) RETURNS TABLE(account text, service text, zone_id text, last_complete_at timestamp with time zone, next_complete_at timestamp with time zone, coverage text, gone boolean, last_complete_run_id bigint, last_complete_finished_at timestamp with time zone, next_complete_finished_at timestamp with time zone)
    LANGUAGE sql STABLE ROWS 100
    BEGIN ATOMIC
 SELECT zone_coverage.account,
     zone_coverage.service,
     zone_coverage.zone_id,
     zone_coverage.last_complete_at,
     zone_coverage.next_complete_at,
     zone_coverage.coverage,
     zone_coverage.gone,
     zone_coverage.last_complete_run_id,
     zone_coverage.last_complete_finished_at,
     zone_coverage.next_complete_finished_at
    FROM syncer.zone_coverage(zone_coverage.at, NULL::text, NULL::text, NULL::text) zone_coverage(account, service, zone_id, last_complete_at, next_complete_at, coverage, gone, last_complete_run_id, last_complete_finished_at, next_complete_finished_at);
END;

COMMENT ON FUNCTION syncer.zone_coverage(at timestamp with time zone) IS 'Each zone at an instant: whether it was known what it offers, and which looks before and after say so';

-- function syncer_store.all_equal(text[])

CREATE FUNCTION syncer_store.all_equal(texts text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (texts = array_fill((texts)[1], ARRAY[cardinality(texts)]));

-- function syncer_store.at_work(text)

CREATE FUNCTION syncer_store.at_work(of_account text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
        select coalesce((
            select r.pid is not null and r.deadline_at >= now() from syncer.runs as r
            where r.run_id = (
                select a.run_id from syncer_store.accounts as a where a.account = of_account)
        ), false)
        $$;

-- function syncer_store.check_history_is_past()

CREATE FUNCTION syncer_store.check_history_is_past() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
        declare
            astray text;
        begin
            select w.image_id into astray
            from written as w
            cross join lateral (
                select i.valid_from from syncer_store.images as i
                where i.zone_key = w.zone_key and i.image_id = w.image_id limit 1) as latest
            where w.valid_to > latest.valid_from
            limit 1;
            if found then
                raise exception using
                    message = 'a closed version of image ' || astray
                        || ' reaches past its latest version',
                    errcode = 'exclusion_violation', constraint = 'images_latest_is_last';
            end if;
            return null;
        end $$;

-- function syncer_store.check_latest_is_last()

CREATE FUNCTION syncer_store.check_latest_is_last() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
        declare
            astray text;
        begin
            select w.image_id into astray
            from written as w
            cross join lateral (
                select h.zone_key, h.image_id, h.valid_to from syncer_store.image_history as h
                where (h.zone_key, h.image_id, h.valid_from)
                      <= (w.zone_key, w.image_id, 'infinity'::timestamptz)
                order by h.zone_key desc, h.image_id desc, h.valid_from desc limit 1) as closed
            where closed.zone_key = w.zone_key and closed.image_id = w.image_id
              and closed.valid_to > w.valid_from
            limit 1;
            if found then
                raise exception using
                    message = 'a closed version of image ' || astray
                        || ' reaches past its latest version',
                    errcode = 'exclusion_violation', constraint = 'images_latest_is_last';
            end if;
            return null;
        end $$;

-- function syncer_store.check_zones_exist()

CREATE FUNCTION syncer_store.check_zones_exist() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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
        end $$;

-- table syncer_store.account_schedule

CREATE TABLE syncer_store.account_schedule (
    account text NOT NULL COLLATE pg_catalog."C",
    every interval NOT NULL,
    due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    taken bigint DEFAULT 0 NOT NULL,
    ended bigint DEFAULT 0 NOT NULL,
    worker text,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    pruned_at timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    result text,
    CONSTRAINT account_schedule_every_check CHECK ((every > '00:00:00'::interval))
)
WITH (fillfactor='50');

COMMENT ON TABLE syncer_store.account_schedule IS 'What workers crawl, and when it is due; taken and ended count, so that a job that lost its turn changes nothing';

-- table syncer_store.accounts

CREATE TABLE syncer_store.accounts (
    account text NOT NULL COLLATE pg_catalog."C",
    run_id bigint,
    pid integer,
    lock_key bigint
);

COMMENT ON TABLE syncer_store.accounts IS 'Whoever begins, ends or writes a run of the account locks its row; the run that is at work holds the advisory lock lock_key in process pid';

-- function syncer_store.is_due(syncer_store.account_schedule, double precision)

CREATE FUNCTION syncer_store.is_due(s syncer_store.account_schedule, grace double precision) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN CASE WHEN (((s).taken = (s).ended) AND ((s).due_at > now()) AND ((s).ended_at <= now())) THEN false WHEN syncer_store.at_work((s).account) THEN false WHEN ((s).taken = (s).ended) THEN true ELSE COALESCE((SELECT ((COALESCE(r.clock_at, r.started_at) + (is_due.s).every) <= now()) FROM (syncer_store.accounts a JOIN syncer_store.runs r USING (run_id)) WHERE ((a.account = (is_due.s).account) AND (r.status = ANY (ARRAY['succeeded'::text, 'partial'::text])) AND (COALESCE(r.clock_at, r.started_at) >= (is_due.s).started_at))), (((s).started_at <= (now() - make_interval(secs => grace))) OR ((s).started_at > now()))) END;

-- function syncer_store.last_seen(integer, text, bigint, timestamp with time zone)

CREATE FUNCTION syncer_store.last_seen(of_zone integer, of_image text, opened_by bigint, whole_at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN GREATEST(whole_at, (SELECT s.observed_at FROM syncer_store.zone_scans s WHERE ((s.zone_key = last_seen.of_zone) AND (s.run_id = last_seen.opened_by))), (SELECT max(g.seen_at) AS max FROM syncer_store.image_gaps g WHERE ((g.zone_key = last_seen.of_zone) AND (g.image_id = last_seen.of_image))));

-- function syncer_store.may_write(oid)

CREATE FUNCTION syncer_store.may_write(role oid) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (EXISTS (SELECT FROM (pg_class c CROSS JOIN LATERAL aclexplode(COALESCE(c.relacl, acldefault('r'::"char", c.relowner))) a(grantor, grantee, privilege_type, is_grantable)) WHERE ((c.oid = ('syncer_store.accounts'::regclass)::oid) AND (a.privilege_type = 'UPDATE'::text) AND ((a.grantee = (0)::oid) OR pg_has_role(may_write.role, a.grantee, 'MEMBER'::text)))));

-- function syncer_store.refuse_zone_change()

CREATE FUNCTION syncer_store.refuse_zone_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
        begin
            raise exception 'zones are kept for ever: images and scans hang on zone_key'
                using errcode = 'restrict_violation', constraint = 'zones_are_kept';
        end $$;

-- table syncer_store.clock_repairs

CREATE TABLE syncer_store.clock_repairs (
    account text NOT NULL COLLATE pg_catalog."C",
    repaired_at timestamp with time zone NOT NULL,
    old_at timestamp with time zone NOT NULL,
    new_at timestamp with time zone NOT NULL,
    timed boolean NOT NULL,
    repaired_by text NOT NULL
);

-- function syncer_store.repaired_stamp(text, timestamp with time zone, timestamp with time zone)

CREATE FUNCTION syncer_store.repaired_stamp(of_account text, of_repair timestamp with time zone, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN COALESCE((SELECT r.new_at FROM syncer_store.clock_repairs r WHERE ((r.account = repaired_stamp.of_account) AND (r.repaired_at = repaired_stamp.of_repair) AND (r.old_at = repaired_stamp.at))), at);

-- function syncer_store.running_pid(text, bigint)

CREATE FUNCTION syncer_store.running_pid(of_account text, of_run bigint) RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN (SELECT l.pid FROM ((syncer_store.accounts a JOIN pg_locks l ON ((l.pid = a.pid))) JOIN pg_stat_activity s ON ((s.pid = l.pid))) WHERE ((a.account = running_pid.of_account) AND (a.run_id = running_pid.of_run) AND (l.locktype = 'advisory'::text) AND l.granted AND (l.mode = 'ExclusiveLock'::text) AND (l.objsubid = 1) AND ((((l.classid)::bigint << 32) | (l.objid)::bigint) = a.lock_key) AND (l.database = (SELECT pg_database.oid FROM pg_database WHERE (pg_database.datname = current_database()))) AND syncer_store.may_write(s.usesysid)) LIMIT 1);

-- table syncer_store.workers

CREATE TABLE syncer_store.workers (
    worker text NOT NULL COLLATE pg_catalog."C",
    host text NOT NULL,
    pid integer NOT NULL,
    syncer_version text NOT NULL,
    accounts text[] NOT NULL,
    at_once integer NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    draining boolean DEFAULT false NOT NULL
)
WITH (fillfactor='50');

-- view syncer.account_schedule

CREATE VIEW syncer.account_schedule AS
 WITH served AS (
         SELECT a.account,
            count(*) AS workers
           FROM (syncer_store.workers w
             CROSS JOIN LATERAL unnest(w.accounts) a(account))
          WHERE ((abs(EXTRACT(epoch FROM (now() - w.seen_at))) < (60)::numeric) AND (NOT w.draining))
          GROUP BY a.account
        )
 SELECT s.account,
    s.every,
    s.due_at,
    s.worker,
    s.started_at,
    s.ended_at,
    s.failures,
    s.result,
    COALESCE(v.workers, (0)::bigint) AS workers,
        CASE
            WHEN ((s.taken <> s.ended) AND syncer_store.at_work(s.account)) THEN 'running'::text
            WHEN ((s.taken <> s.ended) AND (s.started_at > (now() - '00:02:00'::interval))) THEN 'taken'::text
            WHEN ((s.taken = s.ended) AND (s.due_at > now())) THEN 'waiting'::text
            WHEN (s.due_at > (now() - s.every)) THEN 'due'::text
            ELSE 'late'::text
        END AS state
   FROM (syncer_store.account_schedule s
     LEFT JOIN served v USING (account));

COMMENT ON VIEW syncer.account_schedule IS 'The accounts that workers crawl: whose turn it is, and who crawls them; accounts of syncer serve and of cron are not in it';

COMMENT ON COLUMN syncer.account_schedule.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.account_schedule.every IS 'From the start of one run to that of the next';

COMMENT ON COLUMN syncer.account_schedule.due_at IS 'When the next run is due';

COMMENT ON COLUMN syncer.account_schedule.worker IS 'Which worker took it last';

COMMENT ON COLUMN syncer.account_schedule.started_at IS 'When a worker took it last';

COMMENT ON COLUMN syncer.account_schedule.ended_at IS 'When the last run by a worker ended';

COMMENT ON COLUMN syncer.account_schedule.failures IS 'Runs in a row that failed or were refused';

COMMENT ON COLUMN syncer.account_schedule.result IS 'How the last run by a worker ended';

COMMENT ON COLUMN syncer.account_schedule.workers IS 'Workers that are there and have its credentials';

COMMENT ON COLUMN syncer.account_schedule.state IS 'running; taken (by a worker, or by one that died and whose turn is given away soon); waiting (for its time); due; late (for longer than its interval)';

-- view syncer.account_spread

CREATE VIEW syncer.account_spread AS
 WITH whole AS (
         SELECT zones.service,
            array_agg(DISTINCT zones.account ORDER BY zones.account) AS accounts
           FROM syncer.zones
          WHERE ((zones.last_complete_at IS NOT NULL) AND (zones.gone_at IS NULL))
          GROUP BY zones.service
        ), named AS (
         SELECT images.service,
            images.account,
            images.image_name,
            images.image_version,
            images.image_status,
            syncer_store.plain_size(images.image_size) AS image_size,
            (images.presence <> 'unknown'::text) AS offered
           FROM syncer.images
          WHERE ((images.presence <> 'absent'::text) AND (images.image_name IS NOT NULL))
        ), together AS (
         SELECT named.service,
            named.image_name,
            array_agg(DISTINCT named.account) AS known,
            array_agg(DISTINCT named.account ORDER BY named.account) FILTER (WHERE named.offered) AS accounts,
            array_agg(DISTINCT named.image_version ORDER BY named.image_version) FILTER (WHERE named.offered) AS image_versions,
            array_agg(DISTINCT named.image_size ORDER BY named.image_size) FILTER (WHERE named.offered) AS image_sizes,
            array_agg(DISTINCT named.image_status ORDER BY named.image_status) FILTER (WHERE named.offered) AS image_statuses,
            count(DISTINCT ROW(named.account, named.image_version)) FILTER (WHERE named.offered) AS versions,
            count(DISTINCT ROW(named.account, named.image_size)) FILTER (WHERE named.offered) AS sizes,
            count(DISTINCT ROW(named.account, named.image_status)) FILTER (WHERE named.offered) AS statuses
           FROM named
          GROUP BY named.service, named.image_name
        )
 SELECT t.service,
    t.image_name,
    array_remove(ARRAY[
        CASE
            WHEN (m.missing <> '{}'::text[]) THEN 'accounts'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (t.versions <> (cardinality(t.accounts) * cardinality(t.image_versions))) THEN 'image_version'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (t.sizes <> (cardinality(t.accounts) * cardinality(t.image_sizes))) THEN 'image_size'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (t.statuses <> (cardinality(t.accounts) * cardinality(t.image_statuses))) THEN 'image_status'::text
            ELSE NULL::text
        END], NULL::text) AS differs,
    t.accounts,
    m.missing AS missing_accounts,
    t.image_versions,
    t.image_sizes,
    t.image_statuses,
    cardinality(t.accounts) AS account_count,
    cardinality(m.missing) AS missing_count
   FROM ((together t
     JOIN whole w USING (service))
     CROSS JOIN LATERAL ( SELECT ARRAY( SELECT a.a
                   FROM unnest(w.accounts) a(a)
                  WHERE (a.a <> ALL (t.known))
                  ORDER BY a.a) AS missing) m)
  WHERE ((t.accounts IS NOT NULL) AND ((m.missing <> '{}'::text[]) OR (t.versions <> (cardinality(t.accounts) * cardinality(t.image_versions))) OR (t.sizes <> (cardinality(t.accounts) * cardinality(t.image_sizes))) OR (t.statuses <> (cardinality(t.accounts) * cardinality(t.image_statuses)))));

COMMENT ON VIEW syncer.account_spread IS 'Names that the accounts of a service do not offer alike: not in all, or otherwise';

COMMENT ON COLUMN syncer.account_spread.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.account_spread.image_name IS 'The name';

COMMENT ON COLUMN syncer.account_spread.differs IS 'In what: accounts (some lack it), image_version, image_size, image_status';

COMMENT ON COLUMN syncer.account_spread.accounts IS 'The accounts that have it in some zone';

COMMENT ON COLUMN syncer.account_spread.missing_accounts IS 'The accounts that have none, though a zone of each was read whole; one where it is unknown is in neither';

COMMENT ON COLUMN syncer.account_spread.image_versions IS 'The versions there are';

COMMENT ON COLUMN syncer.account_spread.image_sizes IS 'The sizes there are';

COMMENT ON COLUMN syncer.account_spread.image_statuses IS 'The statuses there are';

COMMENT ON COLUMN syncer.account_spread.account_count IS 'How many accounts have it';

COMMENT ON COLUMN syncer.account_spread.missing_count IS 'How many have none';

-- view syncer.approvals

CREATE VIEW syncer.approvals AS
 SELECT a.approval_id,
    z.account,
    z.service,
    z.zone_id,
    a.max_removals,
    a.approved_at,
    a.approved_by,
    COALESCE(a.outcome, 'pending'::text) AS outcome,
    a.decided_at,
    a.run_id,
    a.candidates,
    a.removed,
    a.of_run_id
   FROM (syncer_store.approvals a
     JOIN syncer_store.zones z USING (zone_key));

COMMENT ON VIEW syncer.approvals IS 'Each time that a person allowed removals which the guard withheld';

COMMENT ON COLUMN syncer.approvals.approval_id IS 'The number of the approval';

COMMENT ON COLUMN syncer.approvals.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.approvals.service IS 'vm, zec or bmc: the service of Zenlayer Cloud that has the zone';

COMMENT ON COLUMN syncer.approvals.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.approvals.max_removals IS 'Up to how many images may be removed';

COMMENT ON COLUMN syncer.approvals.approved_at IS 'When it was given';

COMMENT ON COLUMN syncer.approvals.approved_by IS 'Who gave it';

COMMENT ON COLUMN syncer.approvals.outcome IS 'pending; applied; exceeded (there were more, so none was removed); not_needed; replaced (by a later approval)';

COMMENT ON COLUMN syncer.approvals.decided_at IS 'When it was used or ended (null: it is pending)';

COMMENT ON COLUMN syncer.approvals.run_id IS 'The run that used it';

COMMENT ON COLUMN syncer.approvals.candidates IS 'How many images were to be removed then';

COMMENT ON COLUMN syncer.approvals.removed IS 'How many it let be removed so far';

COMMENT ON COLUMN syncer.approvals.of_run_id IS 'The run whose removals are approved (null: those of the next whole look)';

-- table syncer_store.baseline_images

CREATE TABLE syncer_store.baseline_images (
    baseline_id bigint NOT NULL,
    zone_key integer NOT NULL,
    image_id text NOT NULL COLLATE pg_catalog."C",
    image_name text,
    image_type text,
    image_size text,
    image_description text,
    image_version text,
    image_status text,
    category text,
    os_type text,
    added jsonb
);

-- table syncer_store.baselines

CREATE TABLE syncer_store.baselines (
    baseline_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    as_of timestamp with time zone NOT NULL,
    saved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    saved_by text NOT NULL,
    filters jsonb DEFAULT '{}'::jsonb NOT NULL
);

-- view syncer.baseline_images

CREATE VIEW syncer.baseline_images AS
 SELECT b.name,
    z.account,
    z.service,
    z.zone_id,
    i.image_id,
    i.image_name,
    i.image_type,
    i.image_size,
    i.image_description,
    i.image_version,
    i.image_status,
    i.category,
    i.os_type,
    (i.added ->> 'nic_network_type'::text) AS nic_network_type,
    (i.added ->> 'image_source'::text) AS image_source,
    (i.added ->> 'min_disk_size'::text) AS min_disk_size,
    i.added,
    b.name AS baseline
   FROM ((syncer_store.baselines b
     JOIN syncer_store.baseline_images i USING (baseline_id))
     JOIN syncer_store.zones z USING (zone_key));

COMMENT ON VIEW syncer.baseline_images IS 'The images of each baseline, as they were then';

COMMENT ON COLUMN syncer.baseline_images.name IS 'The name of the baseline that the image is part of';

COMMENT ON COLUMN syncer.baseline_images.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.baseline_images.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.baseline_images.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.baseline_images.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.baseline_images.image_name IS 'The name of the image, as the API sent it';

COMMENT ON COLUMN syncer.baseline_images.image_type IS 'Whose image it is, as the API sent it: PUBLIC_IMAGE or CUSTOM_IMAGE';

COMMENT ON COLUMN syncer.baseline_images.image_size IS 'The size in GiB, as the API sent it: text, for instance 30';

COMMENT ON COLUMN syncer.baseline_images.image_description IS 'The description, as the API sent it';

COMMENT ON COLUMN syncer.baseline_images.image_version IS 'The version of the operating system, as the API sent it';

COMMENT ON COLUMN syncer.baseline_images.image_status IS 'Whether it can be used, as the API sent it: for instance AVAILABLE';

COMMENT ON COLUMN syncer.baseline_images.category IS 'The family that it belongs to, as the API sent it: for instance Ubuntu';

COMMENT ON COLUMN syncer.baseline_images.os_type IS 'The kind of operating system, as the API sent it: for instance linux';

COMMENT ON COLUMN syncer.baseline_images.nic_network_type IS 'Of zec: the network types it works with, as JSON (null: not known)';

COMMENT ON COLUMN syncer.baseline_images.image_source IS 'Of zec: where the image comes from (null: not known)';

COMMENT ON COLUMN syncer.baseline_images.min_disk_size IS 'Of zec: the smallest disk it needs, in GiB, as text (null: not known)';

COMMENT ON COLUMN syncer.baseline_images.added IS 'The tracked columns beyond the first eight that the API ever sent for the image';

COMMENT ON COLUMN syncer.baseline_images.baseline IS 'The name of the baseline, the same as name';

-- view syncer.baselines

CREATE VIEW syncer.baselines AS
 SELECT name,
    as_of,
    saved_at,
    saved_by,
    filters,
    ( SELECT count(*) AS count
           FROM syncer_store.baseline_images i
          WHERE (i.baseline_id = b.baseline_id)) AS images
   FROM syncer_store.baselines b;

COMMENT ON VIEW syncer.baselines IS 'Lists of images that syncer baseline save kept, to be compared with later';

COMMENT ON COLUMN syncer.baselines.name IS 'The name of the baseline';

COMMENT ON COLUMN syncer.baselines.as_of IS 'The instant whose images it shows';

COMMENT ON COLUMN syncer.baselines.saved_at IS 'When it was saved';

COMMENT ON COLUMN syncer.baselines.saved_by IS 'Who saved it';

COMMENT ON COLUMN syncer.baselines.filters IS 'Which images were asked for, as JSON';

COMMENT ON COLUMN syncer.baselines.images IS 'How many images it has';

-- view syncer.clock_repairs

CREATE VIEW syncer.clock_repairs AS
 SELECT account,
    repaired_at,
    old_at,
    new_at,
    timed,
    repaired_by
   FROM syncer_store.clock_repairs;

COMMENT ON VIEW syncer.clock_repairs IS 'Stamps that were made while the clock was ahead: what they were, and what syncer db repair-clock made of them';

COMMENT ON COLUMN syncer.clock_repairs.account IS 'The account whose stamp it is';

COMMENT ON COLUMN syncer.clock_repairs.repaired_at IS 'When it was repaired, by the clock: the same for all of one repair';

COMMENT ON COLUMN syncer.clock_repairs.old_at IS 'What the stamp was';

COMMENT ON COLUMN syncer.clock_repairs.new_at IS 'What it is since';

COMMENT ON COLUMN syncer.clock_repairs.timed IS 'Whether new_at is the time by the clock of its run; else only its order is known';

COMMENT ON COLUMN syncer.clock_repairs.repaired_by IS 'Who repaired it';

-- table syncer_store.feed

CREATE TABLE syncer_store.feed (
    only_row boolean DEFAULT true NOT NULL,
    last_change_id bigint NOT NULL,
    pruned_to bigint DEFAULT 0 NOT NULL,
    CONSTRAINT feed_only_row_check CHECK (only_row)
);

COMMENT ON TABLE syncer_store.feed IS 'How far changes are numbered; its row is locked after that of the account';

-- view syncer.feed

CREATE VIEW syncer.feed AS
 SELECT last_change_id,
    pruned_to
   FROM syncer_store.feed;

COMMENT ON VIEW syncer.feed IS 'How far changes are numbered, and kept';

COMMENT ON COLUMN syncer.feed.last_change_id IS 'The newest change: no other will get this number or a lower one';

COMMENT ON COLUMN syncer.feed.pruned_to IS 'Changes up to this one may be missing: syncer prune deleted what it was to';

-- view syncer.image_changes

CREATE VIEW syncer.image_changes AS
 SELECT (r.change_base + c.ordinal) AS change_id,
    c.changed_at,
    c.not_before,
    c.kind,
    z.account,
    z.service,
    z.zone_id,
    c.image_id,
    c.image_name,
    c.changed_fields,
    c.before,
    c.after,
    c.run_id,
    ((c.kind = 'appeared'::text) AND (NOT (c.run_id IS DISTINCT FROM z.first_run_id))) AS first_look,
        CASE c.kind
            WHEN 'removed'::text THEN 'breaking'::text
            ELSE syncer_store.severity(c.changed_fields)
        END AS severity,
    array_to_string(c.changed_fields, ', '::text) AS changed_fields_text,
    c.image_type,
    c.image_size,
    syncer_store.shown_gib(c.image_size) AS image_size_gib,
    c.image_description,
    c.image_version,
    c.image_status,
    c.category,
    c.os_type,
    (c.added ->> 'nic_network_type'::text) AS nic_network_type,
    (c.added ->> 'image_source'::text) AS image_source,
    (c.added ->> 'min_disk_size'::text) AS min_disk_size
   FROM (((( SELECT v.zone_key,
            v.image_id,
            v.image_name,
            v.opened_run_id AS run_id,
            v.opened_ordinal AS ordinal,
            v.valid_from AS changed_at,
            v.opened_not_before AS not_before,
            (v.opened_kind)::text AS kind,
            COALESCE(v.changed_fields, '{}'::text[]) AS changed_fields,
                CASE
                    WHEN (v.opened_kind <> 'appeared'::syncer_store.opening) THEN ( SELECT (syncer_store.tracked_json(p.image_name, p.image_type, p.image_size, p.image_description, p.image_version, p.image_status, p.category, p.os_type) || COALESCE(p.added, '{}'::jsonb))
                       FROM syncer_store.image_history p
                      WHERE ((p.zone_key = v.zone_key) AND (p.image_id = v.image_id) AND (p.valid_from < v.valid_from))
                      ORDER BY p.valid_from DESC
                     LIMIT 1)
                    ELSE NULL::jsonb
                END AS before,
            (syncer_store.tracked_json(v.image_name, v.image_type, v.image_size, v.image_description, v.image_version, v.image_status, v.category, v.os_type) || COALESCE(v.added, '{}'::jsonb)) AS after,
            v.image_type,
            v.image_size,
            v.image_description,
            v.image_version,
            v.image_status,
            v.category,
            v.os_type,
            v.added
           FROM ( SELECT images.zone_key,
                    images.image_id,
                    images.image_name,
                    images.image_type,
                    images.image_size,
                    images.image_description,
                    images.image_version,
                    images.image_status,
                    images.category,
                    images.os_type,
                    images.added,
                    images.valid_from,
                    images.opened_kind,
                    images.opened_run_id,
                    images.opened_ordinal,
                    images.opened_not_before,
                    images.changed_fields
                   FROM syncer_store.images
                UNION ALL
                 SELECT image_history.zone_key,
                    image_history.image_id,
                    image_history.image_name,
                    image_history.image_type,
                    image_history.image_size,
                    image_history.image_description,
                    image_history.image_version,
                    image_history.image_status,
                    image_history.category,
                    image_history.os_type,
                    image_history.added,
                    image_history.valid_from,
                    image_history.opened_kind,
                    image_history.opened_run_id,
                    image_history.opened_ordinal,
                    image_history.opened_not_before,
                    image_history.changed_fields
                   FROM syncer_store.image_history) v
        UNION ALL
         SELECT v.zone_key,
            v.image_id,
            v.image_name,
            v.removed_run_id,
            v.removed_ordinal,
            v.removed_at,
            v.removed_not_before,
            'removed'::text,
            '{}'::text[],
            (syncer_store.tracked_json(v.image_name, v.image_type, v.image_size, v.image_description, v.image_version, v.image_status, v.category, v.os_type) || COALESCE(v.added, '{}'::jsonb)),
            NULL::jsonb,
            v.image_type,
            v.image_size,
            v.image_description,
            v.image_version,
            v.image_status,
            v.category,
            v.os_type,
            v.added
           FROM ( SELECT images.zone_key,
                    images.image_id,
                    images.image_name,
                    images.image_type,
                    images.image_size,
                    images.image_description,
                    images.image_version,
                    images.image_status,
                    images.category,
                    images.os_type,
                    images.added,
                    images.removed_run_id,
                    images.removed_ordinal,
                    images.removed_not_before,
                    images.removed_at
                   FROM syncer_store.images
                UNION ALL
                 SELECT image_history.zone_key,
                    image_history.image_id,
                    image_history.image_name,
                    image_history.image_type,
                    image_history.image_size,
                    image_history.image_description,
                    image_history.image_version,
                    image_history.image_status,
                    image_history.category,
                    image_history.os_type,
                    image_history.added,
                    image_history.removed_run_id,
                    image_history.removed_ordinal,
                    image_history.removed_not_before,
                    image_history.valid_to
                   FROM syncer_store.image_history) v) c
     JOIN syncer_store.zones z USING (zone_key))
     JOIN syncer_store.runs r ON (((r.run_id = c.run_id) AND (r.change_base IS NOT NULL))))
     LEFT JOIN syncer_store.retention k ON ((k.zone_key = c.zone_key)))
  WHERE ((k.kept_from IS NULL) OR (c.changed_at > k.kept_from) OR (c.kind = ANY (ARRAY['appeared'::text, 'removed'::text])) OR (EXISTS ( SELECT
           FROM syncer_store.image_history p
          WHERE ((p.zone_key = c.zone_key) AND (p.image_id = c.image_id) AND (p.valid_from < c.changed_at)))));

COMMENT ON VIEW syncer.image_changes IS 'Each change of an image: it appeared, changed, was removed, or returned';

COMMENT ON COLUMN syncer.image_changes.change_id IS 'The place of the change in the feed: later changes have higher numbers';

COMMENT ON COLUMN syncer.image_changes.changed_at IS 'When the change was seen';

COMMENT ON COLUMN syncer.image_changes.not_before IS 'When the old state was seen last: the true change lies between this and changed_at (null: the zone had never been read whole)';

COMMENT ON COLUMN syncer.image_changes.kind IS 'appeared, changed, removed, or returned (seen again after it was removed)';

COMMENT ON COLUMN syncer.image_changes.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_changes.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_changes.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.image_changes.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.image_changes.image_name IS 'The name of the image, after the change';

COMMENT ON COLUMN syncer.image_changes.changed_fields IS 'The columns that differ; empty where it appeared or was removed';

COMMENT ON COLUMN syncer.image_changes.before IS 'The tracked columns before the change, as JSON (null: there was no image)';

COMMENT ON COLUMN syncer.image_changes.after IS 'The tracked columns after the change, as JSON (null: there is no image)';

COMMENT ON COLUMN syncer.image_changes.run_id IS 'The run that saw the change';

COMMENT ON COLUMN syncer.image_changes.first_look IS 'Seen by the first look that read anything of its zone: it may have been there for long';

COMMENT ON COLUMN syncer.image_changes.severity IS 'breaking (a launch may fail or differ, or the image is gone) or cosmetic; null: it appeared, or returned as it was';

COMMENT ON COLUMN syncer.image_changes.changed_fields_text IS 'The columns that differ, as text, a comma between them';

COMMENT ON COLUMN syncer.image_changes.image_type IS 'Whose image it is: PUBLIC_IMAGE or CUSTOM_IMAGE; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.image_size IS 'The size in GiB, as the API sent it: text, for instance 30; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.image_size_gib IS 'The size in GiB, as a number; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.image_description IS 'The description; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.image_version IS 'The version of the operating system; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.image_status IS 'Whether it can be used: for instance AVAILABLE; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.category IS 'The family that it belongs to: for instance Ubuntu; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.os_type IS 'The kind of operating system: for instance linux; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.nic_network_type IS 'Of zec: the network types it works with, as JSON; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.image_source IS 'Of zec: where the image comes from; after the change, or before a removal';

COMMENT ON COLUMN syncer.image_changes.min_disk_size IS 'Of zec: the smallest disk it needs, in GiB, as text; after the change, or before a removal';

-- view syncer.image_field_changes

CREATE VIEW syncer.image_field_changes AS
 SELECT c.change_id,
    c.changed_at,
    c.account,
    c.service,
    c.zone_id,
    c.image_id,
    c.image_name,
    f.field,
    (c.before ->> f.field) AS old_value,
    (c.after ->> f.field) AS new_value,
    c.run_id,
    syncer_store.severity(ARRAY[f.field]) AS severity,
    c.kind,
    c.not_before
   FROM (syncer.image_changes c
     CROSS JOIN LATERAL unnest(c.changed_fields) f(field));

COMMENT ON VIEW syncer.image_field_changes IS 'Each field of each change, with its value before and after';

COMMENT ON COLUMN syncer.image_field_changes.change_id IS 'The change in image_changes that it is part of';

COMMENT ON COLUMN syncer.image_field_changes.changed_at IS 'When the change was seen';

COMMENT ON COLUMN syncer.image_field_changes.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_field_changes.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_field_changes.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.image_field_changes.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.image_field_changes.image_name IS 'The name of the image, after the change';

COMMENT ON COLUMN syncer.image_field_changes.field IS 'The name of the column that changed';

COMMENT ON COLUMN syncer.image_field_changes.old_value IS 'Its value before, as text';

COMMENT ON COLUMN syncer.image_field_changes.new_value IS 'Its value after, as text';

COMMENT ON COLUMN syncer.image_field_changes.run_id IS 'The run that saw the change';

COMMENT ON COLUMN syncer.image_field_changes.severity IS 'breaking or cosmetic: the class of the field';

COMMENT ON COLUMN syncer.image_field_changes.kind IS 'changed, or returned (seen again after it was removed)';

COMMENT ON COLUMN syncer.image_field_changes.not_before IS 'When the old value was seen last: the true change lies between this and changed_at';

-- view syncer.image_field_spells

CREATE VIEW syncer.image_field_spells AS
 SELECT account,
    service,
    zone_id,
    image_id,
    field,
    (array_agg(value ORDER BY valid_from))[1] AS value,
    min(valid_from) AS spell_from,
    NULLIF(max(COALESCE(valid_to, 'infinity'::timestamp with time zone)), 'infinity'::timestamp with time zone) AS spell_to,
    (NULLIF(max(COALESCE(valid_to, 'infinity'::timestamp with time zone)), 'infinity'::timestamp with time zone) - min(valid_from)) AS duration
   FROM ( SELECT marked.account,
            marked.service,
            marked.zone_id,
            marked.image_id,
            marked.valid_from,
            marked.valid_to,
            marked.field,
            marked.value,
            marked.same,
            marked.begins,
            sum(marked.begins) OVER (of_one ROWS UNBOUNDED PRECEDING) AS number
           FROM ( SELECT each_field.account,
                    each_field.service,
                    each_field.zone_id,
                    each_field.image_id,
                    each_field.valid_from,
                    each_field.valid_to,
                    each_field.field,
                    each_field.value,
                    each_field.same,
                    (((lag(each_field.valid_to) OVER of_one IS DISTINCT FROM each_field.valid_from) OR (lag(each_field.same) OVER of_one IS DISTINCT FROM each_field.same)))::integer AS begins
                   FROM ( SELECT v.account,
                            v.service,
                            v.zone_id,
                            v.image_id,
                            v.valid_from,
                            v.valid_to,
                            f.field,
                            f.value,
                                CASE f.field
                                    WHEN 'image_size'::text THEN syncer_store.plain_size(f.value)
                                    ELSE f.value
                                END AS same
                           FROM (syncer.image_versions v
                             CROSS JOIN LATERAL ( VALUES ('image_name'::text,v.image_name,true), ('image_type'::text,v.image_type,true), ('image_size'::text,v.image_size,true), ('image_description'::text,v.image_description,true), ('image_version'::text,v.image_version,true), ('image_status'::text,v.image_status,true), ('category'::text,v.category,true), ('os_type'::text,v.os_type,true), ('nic_network_type'::text,v.nic_network_type,COALESCE((v.added ? 'nic_network_type'::text), false)), ('image_source'::text,v.image_source,COALESCE((v.added ? 'image_source'::text), false)), ('min_disk_size'::text,v.min_disk_size,COALESCE((v.added ? 'min_disk_size'::text), false))) f(field, value, known))
                          WHERE f.known) each_field
                  WINDOW of_one AS (PARTITION BY each_field.account, each_field.service, each_field.zone_id, each_field.image_id, each_field.field ORDER BY each_field.valid_from)) marked
          WINDOW of_one AS (PARTITION BY marked.account, marked.service, marked.zone_id, marked.image_id, marked.field ORDER BY marked.valid_from)) numbered
  GROUP BY account, service, zone_id, image_id, field, number;

COMMENT ON VIEW syncer.image_field_spells IS 'From when to when each field of an image had each value; filter by field or image';

COMMENT ON COLUMN syncer.image_field_spells.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_field_spells.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_field_spells.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.image_field_spells.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.image_field_spells.field IS 'The name of the column of image_versions';

COMMENT ON COLUMN syncer.image_field_spells.value IS 'The value, as text (null: the API sent none)';

COMMENT ON COLUMN syncer.image_field_spells.spell_from IS 'When the value was first seen';

COMMENT ON COLUMN syncer.image_field_spells.spell_to IS 'When another one was first seen, or that the image is gone (null: it lasts)';

COMMENT ON COLUMN syncer.image_field_spells.duration IS 'How long that was (null: it lasts)';

-- view syncer.image_outages

CREATE VIEW syncer.image_outages AS
 SELECT z.account,
    z.service,
    z.zone_id,
    o.image_id,
    o.image_name,
    o.began_as,
    o.at AS outage_from,
    again.at AS outage_to,
    (again.at - o.at) AS duration,
    o.not_before
   FROM ((syncer_store.zones z
     JOIN ( SELECT i.zone_key,
            i.image_id,
            i.image_name,
            'removed'::text AS began_as,
            i.removed_at AS at,
            i.removed_not_before AS not_before
           FROM syncer_store.images i
          WHERE ((i.removed_run_id IS NOT NULL) AND (i.image_status = 'AVAILABLE'::text))
        UNION ALL
         SELECT h.zone_key,
            h.image_id,
            h.image_name,
            'removed'::text,
            h.valid_to,
            h.removed_not_before
           FROM syncer_store.image_history h
          WHERE ((h.removed_run_id IS NOT NULL) AND (h.image_status = 'AVAILABLE'::text))
        UNION ALL
         SELECT v.zone_key,
            v.image_id,
            v.image_name,
            v.image_status,
            v.valid_from,
            v.opened_not_before
           FROM ( SELECT images.zone_key,
                    images.image_id,
                    images.image_name,
                    images.image_status,
                    images.valid_from,
                    images.opened_kind,
                    images.opened_not_before,
                    images.changed_fields
                   FROM syncer_store.images
                  WHERE ((images.opened_kind = 'changed'::syncer_store.opening) AND (images.image_status IS DISTINCT FROM 'AVAILABLE'::text) AND (images.changed_fields @> '{image_status}'::text[]))
                UNION ALL
                 SELECT image_history.zone_key,
                    image_history.image_id,
                    image_history.image_name,
                    image_history.image_status,
                    image_history.valid_from,
                    image_history.opened_kind,
                    image_history.opened_not_before,
                    image_history.changed_fields
                   FROM syncer_store.image_history
                  WHERE ((image_history.opened_kind = 'changed'::syncer_store.opening) AND (image_history.image_status IS DISTINCT FROM 'AVAILABLE'::text) AND (image_history.changed_fields @> '{image_status}'::text[]))) v
          WHERE ('AVAILABLE'::text = ( SELECT p.image_status
                   FROM syncer_store.image_history p
                  WHERE ((p.zone_key = v.zone_key) AND (p.image_id = v.image_id) AND (p.valid_from < v.valid_from))
                  ORDER BY p.valid_from DESC
                 LIMIT 1))) o USING (zone_key))
     CROSS JOIN LATERAL ( SELECT LEAST(( SELECT i.valid_from
                   FROM syncer_store.images i
                  WHERE ((i.zone_key = o.zone_key) AND (i.image_id = o.image_id) AND (i.valid_from >= o.at) AND (i.image_status = 'AVAILABLE'::text))), ( SELECT h.valid_from
                   FROM syncer_store.image_history h
                  WHERE ((h.zone_key = o.zone_key) AND (h.image_id = o.image_id) AND (h.valid_from >= o.at) AND (h.image_status = 'AVAILABLE'::text))
                  ORDER BY h.valid_from
                 LIMIT 1)) AS at) again);

COMMENT ON VIEW syncer.image_outages IS 'From when to when an image that could be used could not: removed, or not AVAILABLE';

COMMENT ON COLUMN syncer.image_outages.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_outages.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_outages.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.image_outages.image_id IS 'The image, by its id in the API; the same id may occur in several zones';

COMMENT ON COLUMN syncer.image_outages.image_name IS 'The name of the image when the outage began';

COMMENT ON COLUMN syncer.image_outages.began_as IS 'removed, or the status that it had instead of AVAILABLE';

COMMENT ON COLUMN syncer.image_outages.outage_from IS 'When it was first seen that the image cannot be used';

COMMENT ON COLUMN syncer.image_outages.outage_to IS 'When it was first seen AVAILABLE again (null: it was not yet)';

COMMENT ON COLUMN syncer.image_outages.duration IS 'How long that was (null: it lasts)';

COMMENT ON COLUMN syncer.image_outages.not_before IS 'When it was seen AVAILABLE last: it began between this and outage_from';

-- view syncer_store.comparable_zones

CREATE VIEW syncer_store.comparable_zones AS
 SELECT zone_key,
    account,
    service,
    zone_id,
    kind,
    whole,
    set_bit(((repeat('0'::text, zones))::bit varying)::"bit", (place - 1), 1) AS mark
   FROM ( SELECT z.zone_key,
            z.account,
            z.service,
            z.zone_id,
            (whole.run_id IS NOT NULL) AS whole,
            min(z.zone_key) OVER alike AS kind,
            (count(*) OVER alike)::integer AS zones,
            (row_number() OVER alike)::integer AS place
           FROM (syncer_store.zones z
             LEFT JOIN LATERAL ( SELECT s.run_id
                   FROM syncer_store.zone_scans s
                  WHERE ((s.zone_key = z.zone_key) AND (s.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
                  ORDER BY s.run_id DESC
                 LIMIT 1) whole ON (true))
          WHERE (z.gone_at IS NULL)
          WINDOW alike AS (PARTITION BY z.account, z.service)) listed;

-- view syncer.image_spread

CREATE VIEW syncer.image_spread AS
 SELECT account,
    service,
    (image_name COLLATE "default") AS image_name,
    differs,
    ARRAY( SELECT DISTINCT z.zone_id
           FROM unnest(c.zone_ids) z(zone_id)
          ORDER BY z.zone_id) AS zones,
    ARRAY( SELECT z.zone_id
           FROM unnest(c.whole_zones) z(zone_id)
          WHERE (z.zone_id <> ALL ((c.zone_ids || COALESCE(c.unsure_zones, '{}'::text[]))))
          ORDER BY z.zone_id) AS missing_zones,
    ARRAY( SELECT DISTINCT v.version
           FROM unnest(c.versions) v(version)
          ORDER BY v.version) AS image_versions,
    ARRAY( SELECT DISTINCT syncer_store.plain_size(s.size) AS plain
           FROM ( SELECT DISTINCT unnest(c.sizes) AS unnest) s(size)
          ORDER BY (syncer_store.plain_size(s.size))) AS image_sizes,
    ARRAY( SELECT DISTINCT s.status
           FROM unnest(c.statuses) s(status)
          ORDER BY s.status) AS image_statuses,
    ARRAY( SELECT DISTINCT i.id
           FROM unnest(c.ids) i(id)
          ORDER BY i.id) AS image_ids,
    ( SELECT jsonb_agg(jsonb_build_object('zone_id', o.zone_id, 'image_id', o.id, 'image_version', o.version, 'image_size', o.size, 'image_status', o.status) ORDER BY o.zone_id, o.id) AS jsonb_agg
           FROM UNNEST(c.zone_ids, c.ids, c.versions, c.sizes, c.statuses) o(zone_id, id, version, size, status)) AS offers,
    (bit_count(marks))::integer AS zone_count,
    (bit_count((whole_marks & (~ known))))::integer AS missing_count
   FROM ( SELECT k.account,
            k.service,
            k.whole_zones,
            k.marks AS whole_marks,
            n.kind,
            n.image_name,
            n.marks,
            n.zone_ids,
            n.ids,
            n.versions,
            n.sizes,
            n.statuses,
            d.differs,
            u.unsure_zones,
            m.known
           FROM ((((( SELECT z.kind,
                    (i.image_name COLLATE "C") AS image_name,
                    bit_or(z.mark) AS marks,
                    array_agg(z.zone_id) AS zone_ids,
                    array_agg(i.image_id) AS ids,
                    array_agg(i.image_version) AS versions,
                    array_agg(i.image_size) AS sizes,
                    array_agg(i.image_status) AS statuses
                   FROM (syncer_store.images i
                     JOIN syncer_store.comparable_zones z USING (zone_key))
                  WHERE ((i.removed_at IS NULL) AND (i.image_name IS NOT NULL) AND (NOT (EXISTS ( SELECT
                           FROM syncer_store.missing m_1
                          WHERE ((m_1.zone_key = i.zone_key) AND (m_1.image_id = i.image_id))))))
                  GROUP BY z.kind, (i.image_name COLLATE "C")) n
             JOIN ( SELECT comparable_zones.kind,
                    comparable_zones.account,
                    comparable_zones.service,
                    array_agg(comparable_zones.zone_id) FILTER (WHERE comparable_zones.whole) AS whole_zones,
                    bit_or(
                        CASE
                            WHEN comparable_zones.whole THEN comparable_zones.mark
                            ELSE (comparable_zones.mark & (~ comparable_zones.mark))
                        END) AS marks
                   FROM syncer_store.comparable_zones
                  GROUP BY comparable_zones.kind, comparable_zones.account, comparable_zones.service) k USING (kind))
             LEFT JOIN ( SELECT z.kind,
                    (i.image_name COLLATE "C") AS image_name,
                    bit_or(z.mark) AS marks,
                    array_agg(z.zone_id) AS unsure_zones
                   FROM ((syncer_store.missing m_1
                     JOIN syncer_store.images i USING (zone_key, image_id))
                     JOIN syncer_store.comparable_zones z USING (zone_key))
                  WHERE (i.image_name IS NOT NULL)
                  GROUP BY z.kind, (i.image_name COLLATE "C")) u USING (kind, image_name))
             CROSS JOIN LATERAL ( SELECT
                        CASE
                            WHEN (u.marks IS NULL) THEN n.marks
                            ELSE (n.marks | u.marks)
                        END AS known) m)
             CROSS JOIN LATERAL ( SELECT array_remove(ARRAY[
                        CASE
                            WHEN ((m.known & k.marks) <> k.marks) THEN 'zones'::text
                            ELSE NULL::text
                        END,
                        CASE
                            WHEN ((NOT syncer_store.all_equal(n.versions)) AND ((cardinality(n.zone_ids) = bit_count(n.marks)) OR ( SELECT (count(DISTINCT s.ones) > 1)
                               FROM ( SELECT array_agg(DISTINCT t.one) AS ones
                                       FROM UNNEST(n.zone_ids, n.versions) t(zone_id, one)
                                      GROUP BY t.zone_id) s))) THEN 'image_version'::text
                            ELSE NULL::text
                        END,
                        CASE
                            WHEN ((NOT syncer_store.all_equal(n.sizes)) AND (cardinality(ARRAY( SELECT DISTINCT syncer_store.plain_size(t.one) AS plain_size
                               FROM ( SELECT DISTINCT unnest(n.sizes) AS unnest) t(one))) > 1) AND ((cardinality(n.zone_ids) = bit_count(n.marks)) OR ( SELECT (count(DISTINCT s.ones) > 1)
                               FROM ( SELECT array_agg(DISTINCT syncer_store.plain_size(t.one)) AS ones
                                       FROM UNNEST(n.zone_ids, n.sizes) t(zone_id, one)
                                      GROUP BY t.zone_id) s))) THEN 'image_size'::text
                            ELSE NULL::text
                        END,
                        CASE
                            WHEN ((NOT syncer_store.all_equal(n.statuses)) AND ((cardinality(n.zone_ids) = bit_count(n.marks)) OR ( SELECT (count(DISTINCT s.ones) > 1)
                               FROM ( SELECT array_agg(DISTINCT t.one) AS ones
                                       FROM UNNEST(n.zone_ids, n.statuses) t(zone_id, one)
                                      GROUP BY t.zone_id) s))) THEN 'image_status'::text
                            ELSE NULL::text
                        END], NULL::text) AS differs
                 OFFSET 0) d)
          WHERE (((m.known & k.marks) <> k.marks) OR (NOT syncer_store.all_equal(n.versions)) OR (NOT syncer_store.all_equal(n.sizes)) OR (NOT syncer_store.all_equal(n.statuses)))) c
  WHERE (differs <> '{}'::text[]);

COMMENT ON VIEW syncer.image_spread IS 'Image names that the zones of an account and service do not offer alike: missing in some, or with another version, size or status';

COMMENT ON COLUMN syncer.image_spread.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_spread.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_spread.image_name IS 'The name that zones do not offer alike';

COMMENT ON COLUMN syncer.image_spread.differs IS 'In what: zones (some lack it), image_version, image_size, image_status';

COMMENT ON COLUMN syncer.image_spread.zones IS 'The zones that offer it';

COMMENT ON COLUMN syncer.image_spread.missing_zones IS 'The zones that were read whole and do not offer it; not those where it is unknown';

COMMENT ON COLUMN syncer.image_spread.image_versions IS 'The versions there are';

COMMENT ON COLUMN syncer.image_spread.image_sizes IS 'The sizes there are';

COMMENT ON COLUMN syncer.image_spread.image_statuses IS 'The statuses there are';

COMMENT ON COLUMN syncer.image_spread.image_ids IS 'The ids there are; they differ from zone to zone as a rule';

COMMENT ON COLUMN syncer.image_spread.offers IS 'What each zone offers under the name, as JSON';

COMMENT ON COLUMN syncer.image_spread.zone_count IS 'How many zones offer it';

COMMENT ON COLUMN syncer.image_spread.missing_count IS 'How many zones do not offer the name, as far as they were read whole and it is known';

-- view syncer.image_spread_zones

CREATE VIEW syncer.image_spread_zones AS
 SELECT s.account,
    s.service,
    s.image_name,
    o.zone_id,
    true AS offered,
    o.image_id,
    o.image_version,
    o.image_size,
    o.image_status,
    s.zone_count,
    s.missing_count
   FROM (syncer.image_spread s
     CROSS JOIN LATERAL jsonb_to_recordset(s.offers) o(zone_id text, image_id text, image_version text, image_size text, image_status text))
UNION ALL
 SELECT s.account,
    s.service,
    s.image_name,
    m.zone_id,
    false AS offered,
    NULL::text AS image_id,
    NULL::text AS image_version,
    NULL::text AS image_size,
    NULL::text AS image_status,
    s.zone_count,
    s.missing_count
   FROM (syncer.image_spread s
     CROSS JOIN LATERAL unnest(s.missing_zones) m(zone_id));

COMMENT ON VIEW syncer.image_spread_zones IS 'Each name that zones do not offer alike, zone by zone: what it offers, or that it lacks it; image_spread without arrays';

COMMENT ON COLUMN syncer.image_spread_zones.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.image_spread_zones.service IS 'vm, zec or bmc: the service of Zenlayer Cloud whose image it is';

COMMENT ON COLUMN syncer.image_spread_zones.image_name IS 'The name that zones do not offer alike';

COMMENT ON COLUMN syncer.image_spread_zones.zone_id IS 'The zone, by its id in the API';

COMMENT ON COLUMN syncer.image_spread_zones.offered IS 'Whether the zone has an image of that name';

COMMENT ON COLUMN syncer.image_spread_zones.image_id IS 'The image that it offers under the name (null: none)';

COMMENT ON COLUMN syncer.image_spread_zones.image_version IS 'Its version';

COMMENT ON COLUMN syncer.image_spread_zones.image_size IS 'Its size in GiB, as text';

COMMENT ON COLUMN syncer.image_spread_zones.image_status IS 'Its status';

COMMENT ON COLUMN syncer.image_spread_zones.zone_count IS 'How many zones offer the name';

COMMENT ON COLUMN syncer.image_spread_zones.missing_count IS 'How many zones were read whole and do not';

-- table syncer_store.rate_limits

CREATE TABLE syncer_store.rate_limits (
    account text NOT NULL COLLATE pg_catalog."C",
    rate double precision NOT NULL,
    run_id bigint NOT NULL,
    learnt_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT rate_limits_are_rates CHECK (((rate > (0)::double precision) AND (rate < 'Infinity'::double precision)))
);

-- view syncer.rate_limits

CREATE VIEW syncer.rate_limits AS
 SELECT account,
    rate AS calls_per_second,
    learnt_at,
    run_id
   FROM syncer_store.rate_limits;

COMMENT ON VIEW syncer.rate_limits IS 'The rate at which the API took the calls of an account, where it ever refused some';

COMMENT ON COLUMN syncer.rate_limits.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.rate_limits.calls_per_second IS 'How many calls a second the API takes, as it was learnt';

COMMENT ON COLUMN syncer.rate_limits.learnt_at IS 'When it was learnt';

COMMENT ON COLUMN syncer.rate_limits.run_id IS 'The run that learnt it';

-- view syncer.runs

CREATE VIEW syncer.runs AS
 SELECT run_id,
    account,
    started_at,
    finished_at,
    deadline_at,
    status,
    zones,
    zones_unchanged,
    zones_changed,
    zones_incomplete,
    zones_failed,
    zones_guarded,
    zones_gone,
    pages,
    images,
    appeared,
    changed,
    removed,
    returned,
    withheld,
    rejected,
    rereads,
    calls,
    retries,
    error_code,
    error_message,
    selection,
    syncer_version,
    (change_base + changes) AS last_change_id,
    COALESCE(clock_at, started_at) AS clock_at,
        CASE
            WHEN (status = 'running'::text) THEN syncer_store.running_pid(account, run_id)
            ELSE NULL::integer
        END AS pid,
    zones_unlisted,
    zones_lost,
    changes
   FROM syncer_store.runs r;

COMMENT ON VIEW syncer.runs IS 'Each run of syncer: one pass over everything that it was asked to read';

COMMENT ON COLUMN syncer.runs.run_id IS 'The number of the run; runs of all accounts are numbered together';

COMMENT ON COLUMN syncer.runs.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.runs.started_at IS 'When the run began';

COMMENT ON COLUMN syncer.runs.finished_at IS 'When it ended (null: it is running)';

COMMENT ON COLUMN syncer.runs.deadline_at IS 'When it may be taken for dead, and be ended by the next run';

COMMENT ON COLUMN syncer.runs.status IS 'running; succeeded; partial (some zones were not read whole); failed; crashed';

COMMENT ON COLUMN syncer.runs.zones IS 'Zones that were read, or tried';

COMMENT ON COLUMN syncer.runs.zones_unchanged IS 'Zones read whole in which nothing had changed';

COMMENT ON COLUMN syncer.runs.zones_changed IS 'Zones read whole in which something had changed';

COMMENT ON COLUMN syncer.runs.zones_incomplete IS 'Zones of which what was read did not add up';

COMMENT ON COLUMN syncer.runs.zones_failed IS 'Zones that could not be read';

COMMENT ON COLUMN syncer.runs.zones_guarded IS 'Zones read whole in which removals wait for a person';

COMMENT ON COLUMN syncer.runs.zones_gone IS 'Zones that are not offered any more';

COMMENT ON COLUMN syncer.runs.pages IS 'Pages that were read';

COMMENT ON COLUMN syncer.runs.images IS 'Images that were read';

COMMENT ON COLUMN syncer.runs.appeared IS 'Images that were not known before';

COMMENT ON COLUMN syncer.runs.changed IS 'Images of which a tracked column changed';

COMMENT ON COLUMN syncer.runs.removed IS 'Images that were confirmed to be absent';

COMMENT ON COLUMN syncer.runs.returned IS 'Images that were removed before and are there again';

COMMENT ON COLUMN syncer.runs.withheld IS 'Images whose removal waits for a person to approve it';

COMMENT ON COLUMN syncer.runs.rejected IS 'Rows of the API that cannot be kept, for instance without an id';

COMMENT ON COLUMN syncer.runs.rereads IS 'How often zones were read again, as what was read did not add up';

COMMENT ON COLUMN syncer.runs.calls IS 'Calls to the API';

COMMENT ON COLUMN syncer.runs.retries IS 'Calls that had to be made again';

COMMENT ON COLUMN syncer.runs.error_code IS 'Why it failed or was stopped: a short name';

COMMENT ON COLUMN syncer.runs.error_message IS 'The same, in words';

COMMENT ON COLUMN syncer.runs.selection IS 'Which zones and services it was asked to read, as JSON';

COMMENT ON COLUMN syncer.runs.syncer_version IS 'The version of syncer that ran';

COMMENT ON COLUMN syncer.runs.last_change_id IS 'The last change of the run in image_changes (null: it is running)';

COMMENT ON COLUMN syncer.runs.clock_at IS 'The clock when the run began; started_at is later where the clock had stepped back';

COMMENT ON COLUMN syncer.runs.pid IS 'The process of PostgreSQL that a run at work has its lock in; null where it is gone';

COMMENT ON COLUMN syncer.runs.zones_unlisted IS 'Zones that DescribeZones no longer lists and that answered with images';

COMMENT ON COLUMN syncer.runs.zones_lost IS 'Zones that were listed and read before, and are gone or not listed since this run';

COMMENT ON COLUMN syncer.runs.changes IS 'How many changes of the feed it holds, the last of them last_change_id';

-- view syncer.schema_version

CREATE VIEW syncer.schema_version AS
 SELECT version_num AS revision
   FROM syncer_store.alembic_version;

COMMENT ON VIEW syncer.schema_version IS 'The last migration that was applied to this database: one row';

COMMENT ON COLUMN syncer.schema_version.revision IS 'Its number';

-- view syncer.workers

CREATE VIEW syncer.workers AS
 SELECT worker,
    host,
    pid,
    syncer_version,
    started_at,
    seen_at,
    (abs(EXTRACT(epoch FROM (now() - seen_at))) < (60)::numeric) AS alive,
    draining,
    cardinality(accounts) AS accounts,
    at_once,
    ( SELECT count(*) AS count
           FROM syncer_store.account_schedule s
          WHERE ((s.worker = w.worker) AND (s.taken <> s.ended))) AS running
   FROM syncer_store.workers w;

COMMENT ON VIEW syncer.workers IS 'The processes of syncer worker that are there, or were lately';

COMMENT ON COLUMN syncer.workers.worker IS 'Its name: host, process and a random part';

COMMENT ON COLUMN syncer.workers.host IS 'The machine that it runs on';

COMMENT ON COLUMN syncer.workers.pid IS 'The number of its process there';

COMMENT ON COLUMN syncer.workers.syncer_version IS 'The version of syncer that it runs';

COMMENT ON COLUMN syncer.workers.started_at IS 'When it started';

COMMENT ON COLUMN syncer.workers.seen_at IS 'When it last said that it is there';

COMMENT ON COLUMN syncer.workers.alive IS 'Whether it was seen within the last minute';

COMMENT ON COLUMN syncer.workers.draining IS 'It was asked to end: it takes no more accounts';

COMMENT ON COLUMN syncer.workers.accounts IS 'How many accounts it has the credentials of';

COMMENT ON COLUMN syncer.workers.at_once IS 'How many accounts it crawls side by side, at most';

COMMENT ON COLUMN syncer.workers.running IS 'How many accounts it crawls now';

-- view syncer.zone_spells

CREATE VIEW syncer.zone_spells AS
 SELECT z.account,
    z.service,
    z.zone_id,
    s.state,
    s.spell_from,
    s.spell_to,
    ((( SELECT count(*) AS count
           FROM syncer_store.zone_scans c
          WHERE ((c.zone_key = z.zone_key) AND (c.run_id >= s.from_run) AND (c.run_id < s.to_run))) + ( SELECT count(*) AS count
           FROM (syncer_store.stretches t
             CROSS JOIN LATERAL UNNEST(t.run_ids, t.finished) u(run_id, at))
          WHERE ((t.zone_key = z.zone_key) AND (t.run_id < s.to_run) AND (t.run_ids[cardinality(t.run_ids)] >= s.from_run) AND (u.run_id >= s.from_run) AND (u.run_id < s.to_run)))))::integer AS scans,
    ( SELECT NULLIF(max((l.next_at - l.at)), '00:00:00'::interval) AS "nullif"
           FROM ( SELECT l_1.at,
                    lead(l_1.at, 1, s.spell_to) OVER (ORDER BY l_1.at) AS next_at
                   FROM ( SELECT s.spell_from
                        UNION ALL
                         SELECT c.finished_at
                           FROM syncer_store.zone_scans c
                          WHERE ((c.zone_key = z.zone_key) AND (c.run_id >= s.from_run) AND (c.run_id < s.to_run))
                        UNION ALL
                         SELECT u.at
                           FROM (syncer_store.stretches t
                             CROSS JOIN LATERAL UNNEST(t.run_ids, t.finished) u(run_id, at))
                          WHERE ((t.zone_key = z.zone_key) AND (t.run_id < s.to_run) AND (t.run_ids[cardinality(t.run_ids)] >= s.from_run) AND (u.run_id >= s.from_run) AND (u.run_id < s.to_run))) l_1(at)) l) AS longest_wait,
    s.error_code,
    s.error_message
   FROM (syncer_store.zones z
     JOIN ( SELECT marked.zone_key,
            marked.state,
            marked.at AS spell_from,
            marked.error_code,
            marked.error_message,
            lead(marked.at) OVER by_time AS spell_to,
            marked.run_id AS from_run,
            COALESCE(lead(marked.run_id) OVER by_time, '9223372036854775807'::bigint) AS to_run
           FROM ( SELECT judged.zone_key,
                    judged.at,
                    judged.run_id,
                    judged.error_code,
                    judged.error_message,
                    judged.outcome,
                    judged.read_at,
                    judged.gone_at,
                    judged.state,
                    (lag(judged.state) OVER by_time IS DISTINCT FROM judged.state) AS begins
                   FROM ( SELECT looked_at.zone_key,
                            looked_at.at,
                            looked_at.run_id,
                            looked_at.error_code,
                            looked_at.error_message,
                            looked_at.outcome,
                            looked_at.read_at,
                            looked_at.gone_at,
                                CASE
                                    WHEN (looked_at.gone_at > COALESCE(looked_at.read_at, '-infinity'::timestamp with time zone)) THEN 'gone'::text
                                    ELSE looked_at.outcome
                                END AS state
                           FROM ( SELECT m.zone_key,
                                    m.at,
                                    m.run_id,
                                    m.error_code,
                                    m.error_message,
                                    m.outcome,
                                    max(m.at) FILTER (WHERE (m.outcome = 'read'::text)) OVER running AS read_at,
                                    max(m.at) FILTER (WHERE (m.outcome = 'gone'::text)) OVER running AS gone_at
                                   FROM ( SELECT s_1.zone_key,
    s_1.finished_at AS at,
    s_1.run_id,
    s_1.error_code,
    s_1.error_message,
  CASE
   WHEN (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])) THEN 'read'::text
   ELSE s_1.status
  END AS outcome
   FROM syncer_store.zone_scans s_1
  WHERE (s_1.status = ANY (ARRAY['incomplete'::text, 'failed'::text, 'gone'::text]))
UNION ALL
 SELECT s_1.zone_key,
    s_1.finished_at AS at,
    s_1.run_id,
    s_1.error_code,
    s_1.error_message,
  CASE
   WHEN (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])) THEN 'read'::text
   ELSE s_1.status
  END AS outcome
   FROM (syncer_store.zone_scans b
     CROSS JOIN LATERAL ( SELECT n.zone_key,
      n.run_id,
      n.started_at,
      n.observed_at,
      n.finished_at,
      n.status,
      n.listed,
      n.pages,
      n.images,
      n.appeared,
      n.changed,
      n.removed,
      n.returned,
      n.withheld,
      n.rejected,
      n.rereads,
      n.last_change,
      n.error_code,
      n.error_message,
      n.request_id,
      n.amended
     FROM syncer_store.zone_scans n
    WHERE ((n.zone_key = b.zone_key) AND (n.run_id > b.run_id))
    ORDER BY n.run_id
   LIMIT 1) s_1)
  WHERE ((b.status = ANY (ARRAY['incomplete'::text, 'failed'::text, 'gone'::text])) AND (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
UNION ALL
 SELECT s_1.zone_key,
    s_1.finished_at AS at,
    s_1.run_id,
    s_1.error_code,
    s_1.error_message,
  CASE
   WHEN (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])) THEN 'read'::text
   ELSE s_1.status
  END AS outcome
   FROM (syncer_store.zones z_1
     CROSS JOIN LATERAL ( SELECT n.zone_key,
      n.run_id,
      n.started_at,
      n.observed_at,
      n.finished_at,
      n.status,
      n.listed,
      n.pages,
      n.images,
      n.appeared,
      n.changed,
      n.removed,
      n.returned,
      n.withheld,
      n.rejected,
      n.rereads,
      n.last_change,
      n.error_code,
      n.error_message,
      n.request_id,
      n.amended
     FROM syncer_store.zone_scans n
    WHERE (n.zone_key = z_1.zone_key)
    ORDER BY n.run_id
   LIMIT 1) s_1)
  WHERE (s_1.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text]))
UNION ALL
 SELECT r.zone_key,
    r.retired_at,
    (1 + COALESCE(GREATEST(( SELECT c.run_id
     FROM syncer_store.zone_scans c
    WHERE ((c.zone_key = r.zone_key) AND (c.finished_at <= r.retired_at))
    ORDER BY c.run_id DESC
   LIMIT 1), ( SELECT max(u.run_id) AS max
     FROM ((syncer_store.stretches t
       JOIN syncer_store.zone_scans c USING (zone_key, run_id))
       CROSS JOIN LATERAL UNNEST(t.run_ids, t.finished) u(run_id, at))
    WHERE ((t.zone_key = r.zone_key) AND (u.at <= r.retired_at)))), (0)::bigint)),
    NULL::text,
    ('retired by '::text || r.retired_by),
    'gone'::text
   FROM syncer_store.retirements r
UNION ALL
 SELECT r.zone_key,
    l.at,
    l.run_id,
    NULL::text,
    NULL::text,
    'read'::text
   FROM (syncer_store.retirements r
     CROSS JOIN LATERAL (( SELECT c.finished_at AS at,
      c.run_id
     FROM syncer_store.zone_scans c
    WHERE ((c.zone_key = r.zone_key) AND (c.finished_at > r.retired_at) AND (c.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
    ORDER BY c.run_id
   LIMIT 1)
  UNION ALL
  ( SELECT u.at,
      u.run_id
     FROM ((syncer_store.stretches t
       JOIN syncer_store.zone_scans c USING (zone_key, run_id))
       CROSS JOIN LATERAL UNNEST(t.run_ids, t.finished) u(run_id, at))
    WHERE ((t.zone_key = r.zone_key) AND (u.at > r.retired_at) AND (c.status = ANY (ARRAY['unchanged'::text, 'changed'::text, 'guarded'::text])))
    ORDER BY u.run_id
   LIMIT 1)
  ORDER BY 1
 LIMIT 1) l)) m
                                  WINDOW running AS (PARTITION BY m.zone_key ORDER BY m.at, m.run_id ROWS UNBOUNDED PRECEDING)) looked_at) judged
                  WINDOW by_time AS (PARTITION BY judged.zone_key ORDER BY judged.at, judged.run_id)) marked
          WHERE marked.begins
          WINDOW by_time AS (PARTITION BY marked.zone_key ORDER BY marked.at, marked.run_id)) s USING (zone_key));

COMMENT ON VIEW syncer.zone_spells IS 'From when to when each zone was read whole, could not be read, or was gone';

COMMENT ON COLUMN syncer.zone_spells.account IS 'The credentials that it was read with, by the name that you gave them';

COMMENT ON COLUMN syncer.zone_spells.service IS 'vm, zec or bmc: the service of Zenlayer Cloud that has the zone';

COMMENT ON COLUMN syncer.zone_spells.zone_id IS 'The zone, by its id in the API; bmc has the one zone *';

COMMENT ON COLUMN syncer.zone_spells.state IS 'read (whole); incomplete (what was read did not add up); failed (nothing was read); gone (the zone was not offered, until it was read whole again)';

COMMENT ON COLUMN syncer.zone_spells.spell_from IS 'When the first scan that came to this had ended';

COMMENT ON COLUMN syncer.zone_spells.spell_to IS 'When the first scan that came to something else had ended (null: none yet)';

COMMENT ON COLUMN syncer.zone_spells.scans IS 'How many scans came to this, one after the other';

COMMENT ON COLUMN syncer.zone_spells.longest_wait IS 'The longest time without a scan in it: how old what was known became';

COMMENT ON COLUMN syncer.zone_spells.error_code IS 'Why its first scan did not read the zone: a short name';

COMMENT ON COLUMN syncer.zone_spells.error_message IS 'The same, in words';

-- sequence syncer_store.approvals_approval_id_seq

ALTER TABLE syncer_store.approvals ALTER COLUMN approval_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME syncer_store.approvals_approval_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

-- sequence syncer_store.baselines_baseline_id_seq

ALTER TABLE syncer_store.baselines ALTER COLUMN baseline_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME syncer_store.baselines_baseline_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

-- table syncer_store.extra_names

CREATE TABLE syncer_store.extra_names (
    account text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    run_id bigint NOT NULL
);

-- table syncer_store.prunes

CREATE TABLE syncer_store.prunes (
    account text NOT NULL COLLATE pg_catalog."C",
    pid integer NOT NULL,
    lock_key bigint NOT NULL
);

COMMENT ON TABLE syncer_store.prunes IS 'The prune that is at work holds the advisory lock lock_key in process pid';

-- sequence syncer_store.runs_run_id_seq

ALTER TABLE syncer_store.runs ALTER COLUMN run_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME syncer_store.runs_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

-- table syncer_store.salt

CREATE TABLE syncer_store.salt (
    only_row boolean DEFAULT true NOT NULL,
    salt bytea NOT NULL,
    CONSTRAINT salt_only_row_check CHECK (only_row)
);

COMMENT ON TABLE syncer_store.salt IS 'With what zones.key_digest is hashed: of the id of an access key, never of its secret';

-- view syncer_store.stamps

CREATE VIEW syncer_store.stamps AS
 SELECT r.account,
    s.at
   FROM (syncer_store.runs r
     CROSS JOIN LATERAL ( VALUES (r.started_at), (r.finished_at)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM (syncer_store.zones z
     CROSS JOIN LATERAL ( VALUES (z.first_seen_at), (z.gone_at), (z.newest_at)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.zone_scans c
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (c.started_at), (c.observed_at), (c.finished_at)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.stretches c
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL unnest((c.observed || c.finished)) s(at))
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.images i
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (i.first_seen_at), (i.valid_from), (i.opened_not_before), (i.removed_at), (i.removed_not_before)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.image_history h
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (h.valid_from), (h.valid_to), (h.opened_not_before), (h.removed_not_before)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.missing m
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (m.missing_since), (m.last_listed_at), (m.withheld_since)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.image_gaps g
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (g.gap_from), (g.gap_to), (g.seen_at), (g.last_listed_at), (g.withheld_since)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.approvals a
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (a.approved_at), (a.decided_at)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    s.at
   FROM ((syncer_store.retirements t
     JOIN syncer_store.zones z USING (zone_key))
     CROSS JOIN LATERAL ( VALUES (t.retired_at), (t.ended_at)) s(at))
  WHERE (s.at IS NOT NULL)
UNION ALL
 SELECT z.account,
    k.kept_from AS at
   FROM (syncer_store.retention k
     JOIN syncer_store.zones z USING (zone_key))
  WHERE (k.kept_from IS NOT NULL);

COMMENT ON VIEW syncer_store.stamps IS 'Every instant on the time line of an account, as often as it is stored';

-- table syncer_store.ticks

CREATE TABLE syncer_store.ticks (
    one boolean DEFAULT true NOT NULL,
    ticked_at timestamp with time zone NOT NULL,
    CONSTRAINT ticks_one_check CHECK (one)
)
WITH (fillfactor='50');

COMMENT ON TABLE syncer_store.ticks IS 'Who claims its row hands out the accounts that are due';

-- table syncer_store.zone_digests

CREATE TABLE syncer_store.zone_digests (
    zone_key integer NOT NULL,
    parser bigint NOT NULL,
    asked integer NOT NULL,
    total bigint,
    images integer NOT NULL,
    pages bytea NOT NULL,
    content bytea NOT NULL,
    hash text NOT NULL,
    unordered bytea,
    rows bytea,
    names text[],
    amended bytea
);
ALTER TABLE ONLY syncer_store.zone_digests ALTER COLUMN rows SET STORAGE EXTERNAL;
ALTER TABLE ONLY syncer_store.zone_digests ALTER COLUMN amended SET STORAGE EXTERNAL;

COMMENT ON TABLE syncer_store.zone_digests IS 'A cache: after editing images by hand, delete from it or run syncer sync --full';

-- sequence syncer_store.zones_zone_key_seq

ALTER TABLE syncer_store.zones ALTER COLUMN zone_key ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME syncer_store.zones_zone_key_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

-- constraint syncer_store.account_schedule account_schedule_pkey

ALTER TABLE ONLY syncer_store.account_schedule
    ADD CONSTRAINT account_schedule_pkey PRIMARY KEY (account);

-- constraint syncer_store.accounts accounts_pkey

ALTER TABLE ONLY syncer_store.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (account);

-- constraint syncer_store.approvals approvals_pkey

ALTER TABLE ONLY syncer_store.approvals
    ADD CONSTRAINT approvals_pkey PRIMARY KEY (approval_id);

-- constraint syncer_store.baseline_images baseline_images_pkey

ALTER TABLE ONLY syncer_store.baseline_images
    ADD CONSTRAINT baseline_images_pkey PRIMARY KEY (baseline_id, zone_key, image_id);

-- constraint syncer_store.baselines baselines_are_named

ALTER TABLE ONLY syncer_store.baselines
    ADD CONSTRAINT baselines_are_named UNIQUE (name);

-- constraint syncer_store.baselines baselines_pkey

ALTER TABLE ONLY syncer_store.baselines
    ADD CONSTRAINT baselines_pkey PRIMARY KEY (baseline_id);

-- constraint syncer_store.clock_repairs clock_repairs_pkey

ALTER TABLE ONLY syncer_store.clock_repairs
    ADD CONSTRAINT clock_repairs_pkey PRIMARY KEY (account, repaired_at, old_at);

-- constraint syncer_store.extra_names extra_names_pkey

ALTER TABLE ONLY syncer_store.extra_names
    ADD CONSTRAINT extra_names_pkey PRIMARY KEY (account, service, name);

-- constraint syncer_store.feed feed_pkey

ALTER TABLE ONLY syncer_store.feed
    ADD CONSTRAINT feed_pkey PRIMARY KEY (only_row);

-- constraint syncer_store.image_gaps image_gaps_pkey

ALTER TABLE ONLY syncer_store.image_gaps
    ADD CONSTRAINT image_gaps_pkey PRIMARY KEY (zone_key, image_id, gap_from);

-- constraint syncer_store.image_history image_history_never_overlaps

ALTER TABLE ONLY syncer_store.image_history
    ADD CONSTRAINT image_history_never_overlaps EXCLUDE USING gist (zone_key WITH =, hashtextextended(image_id, (0)::bigint) WITH =, tstzrange(valid_from, valid_to) WITH &&, (('='::text || image_id)) WITH =);

-- constraint syncer_store.image_history image_history_pkey

ALTER TABLE ONLY syncer_store.image_history
    ADD CONSTRAINT image_history_pkey PRIMARY KEY (zone_key, image_id, valid_from);

-- constraint syncer_store.images images_pkey

ALTER TABLE ONLY syncer_store.images
    ADD CONSTRAINT images_pkey PRIMARY KEY (zone_key, image_id);

-- constraint syncer_store.missing missing_pkey

ALTER TABLE ONLY syncer_store.missing
    ADD CONSTRAINT missing_pkey PRIMARY KEY (zone_key, image_id);

-- constraint syncer_store.prunes prunes_pkey

ALTER TABLE ONLY syncer_store.prunes
    ADD CONSTRAINT prunes_pkey PRIMARY KEY (account);

-- constraint syncer_store.rate_limits rate_limits_pkey

ALTER TABLE ONLY syncer_store.rate_limits
    ADD CONSTRAINT rate_limits_pkey PRIMARY KEY (account);

-- constraint syncer_store.retention retention_pkey

ALTER TABLE ONLY syncer_store.retention
    ADD CONSTRAINT retention_pkey PRIMARY KEY (zone_key);

-- constraint syncer_store.retirements retirements_pkey

ALTER TABLE ONLY syncer_store.retirements
    ADD CONSTRAINT retirements_pkey PRIMARY KEY (zone_key, retired_at);

-- constraint syncer_store.runs runs_pkey

ALTER TABLE ONLY syncer_store.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);

-- constraint syncer_store.salt salt_pkey

ALTER TABLE ONLY syncer_store.salt
    ADD CONSTRAINT salt_pkey PRIMARY KEY (only_row);

-- constraint syncer_store.stretches stretches_pkey

ALTER TABLE ONLY syncer_store.stretches
    ADD CONSTRAINT stretches_pkey PRIMARY KEY (zone_key, run_id);

-- constraint syncer_store.ticks ticks_pkey

ALTER TABLE ONLY syncer_store.ticks
    ADD CONSTRAINT ticks_pkey PRIMARY KEY (one);

-- constraint syncer_store.workers workers_pkey

ALTER TABLE ONLY syncer_store.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker);

-- constraint syncer_store.zone_digests zone_digests_pkey

ALTER TABLE ONLY syncer_store.zone_digests
    ADD CONSTRAINT zone_digests_pkey PRIMARY KEY (zone_key);

-- constraint syncer_store.zone_scans zone_scans_pkey

ALTER TABLE ONLY syncer_store.zone_scans
    ADD CONSTRAINT zone_scans_pkey PRIMARY KEY (zone_key, run_id);

-- constraint syncer_store.zones zones_are_named

ALTER TABLE ONLY syncer_store.zones
    ADD CONSTRAINT zones_are_named UNIQUE (account, service, zone_id);

-- constraint syncer_store.zones zones_pkey

ALTER TABLE ONLY syncer_store.zones
    ADD CONSTRAINT zones_pkey PRIMARY KEY (zone_key);

-- index syncer_store.approvals_pending

CREATE UNIQUE INDEX approvals_pending ON syncer_store.approvals USING btree (zone_key) WHERE ((outcome IS NULL) AND (of_run_id IS NULL));

-- index syncer_store.image_gaps_ended

CREATE INDEX image_gaps_ended ON syncer_store.image_gaps USING btree (gap_to);

-- index syncer_store.image_gaps_seen

CREATE INDEX image_gaps_seen ON syncer_store.image_gaps USING btree (zone_key, image_id) WHERE (ended_by = 'seen'::text);

-- index syncer_store.image_history_began

CREATE INDEX image_history_began ON syncer_store.image_history USING btree (valid_from);

-- index syncer_store.image_history_ended

CREATE INDEX image_history_ended ON syncer_store.image_history USING btree (valid_to);

-- index syncer_store.image_history_opened

CREATE INDEX image_history_opened ON syncer_store.image_history USING btree (opened_run_id);

-- index syncer_store.image_history_removed

CREATE INDEX image_history_removed ON syncer_store.image_history USING btree (removed_run_id) WHERE (removed_run_id IS NOT NULL);

-- index syncer_store.images_came

CREATE INDEX images_came ON syncer_store.images USING btree (zone_key, syncer_store.plain_name(image_name)) WHERE (opened_not_before IS NOT NULL);

-- index syncer_store.images_opened

CREATE INDEX images_opened ON syncer_store.images USING btree (opened_run_id);

-- index syncer_store.images_removed

CREATE INDEX images_removed ON syncer_store.images USING btree (removed_run_id) WHERE (removed_run_id IS NOT NULL);

-- index syncer_store.runs_by_time

CREATE INDEX runs_by_time ON syncer_store.runs USING btree (started_at);

-- index syncer_store.runs_changing

CREATE INDEX runs_changing ON syncer_store.runs USING btree (((change_base + changes))) WHERE (changes > 0);

-- index syncer_store.runs_feed

CREATE INDEX runs_feed ON syncer_store.runs USING btree (change_base, changes);

-- index syncer_store.runs_newest

CREATE INDEX runs_newest ON syncer_store.runs USING btree (account, run_id DESC);

-- index syncer_store.runs_running

CREATE INDEX runs_running ON syncer_store.runs USING btree (account) WHERE (status = 'running'::text);

-- index syncer_store.runs_started

CREATE INDEX runs_started ON syncer_store.runs USING btree (account, started_at DESC);

-- index syncer_store.zone_scans_by_time

CREATE INDEX zone_scans_by_time ON syncer_store.zone_scans USING brin (started_at) WITH (pages_per_range='16');

-- index syncer_store.zone_scans_not_read

CREATE INDEX zone_scans_not_read ON syncer_store.zone_scans USING btree (zone_key, run_id) WHERE (status = ANY (ARRAY['incomplete'::text, 'failed'::text, 'gone'::text]));

-- statistics syncer_store.image_history_of_an_image

CREATE STATISTICS syncer_store.image_history_of_an_image (dependencies) ON zone_key, image_id FROM syncer_store.image_history;

-- statistics syncer_store.runs_end

CREATE STATISTICS syncer_store.runs_end ON (change_base + changes) FROM syncer_store.runs;

-- trigger syncer_store.image_history image_history_is_past

CREATE TRIGGER image_history_is_past AFTER INSERT ON syncer_store.image_history REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION syncer_store.check_history_is_past();

-- trigger syncer_store.image_history image_history_stays_past

CREATE TRIGGER image_history_stays_past AFTER UPDATE ON syncer_store.image_history REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION syncer_store.check_history_is_past();

-- trigger syncer_store.images images_have_a_zone

CREATE TRIGGER images_have_a_zone AFTER INSERT ON syncer_store.images REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION syncer_store.check_zones_exist();

-- trigger syncer_store.images images_latest_is_last

CREATE TRIGGER images_latest_is_last AFTER UPDATE ON syncer_store.images REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION syncer_store.check_latest_is_last();

-- trigger syncer_store.zones zones_are_kept

CREATE TRIGGER zones_are_kept BEFORE DELETE OR UPDATE OF zone_key ON syncer_store.zones FOR EACH ROW EXECUTE FUNCTION syncer_store.refuse_zone_change();

-- fk constraint syncer_store.approvals approvals_zone_key_fkey

ALTER TABLE ONLY syncer_store.approvals
    ADD CONSTRAINT approvals_zone_key_fkey FOREIGN KEY (zone_key) REFERENCES syncer_store.zones(zone_key);

-- fk constraint syncer_store.baseline_images baseline_images_baseline_id_fkey

ALTER TABLE ONLY syncer_store.baseline_images
    ADD CONSTRAINT baseline_images_baseline_id_fkey FOREIGN KEY (baseline_id) REFERENCES syncer_store.baselines(baseline_id) ON DELETE CASCADE;

-- fk constraint syncer_store.image_history image_history_of_an_image

ALTER TABLE ONLY syncer_store.image_history
    ADD CONSTRAINT image_history_of_an_image FOREIGN KEY (zone_key, image_id) REFERENCES syncer_store.images(zone_key, image_id);
