"""How many images were present, instant by instant, in one pass over the versions.

Revision ID: 0022
Revises: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # As many as images_asof has for each instant, which reads the versions anew for each. Here each
    # version adds one from the first instant that it covers on, and takes it away after the last;
    # a gap the other way round.
    op.execute("""
        create function syncer.image_counts("from" timestamptz, "to" timestamptz, step interval)
        returns table (at timestamptz, account text, service text, zone_id text, images bigint)
        language sql stable rows 1000
        begin atomic
            with instants as materialized (
                select array_agg(t order by t) as all_of_them
                from generate_series("from", "to", step) as t
            ), spans as (
                select v.account, v.service, v.zone_id, v.valid_from as since, v.valid_to as until,
                       1 as one
                from syncer.image_versions as v
                where v.valid_from <= "to" and (v.valid_to > "from" or v.valid_to is null)
                union all
                select g.account, g.service, g.zone_id, g.gap_from, g.gap_to, -1
                from syncer.image_gaps as g
                where g.gap_from <= "to" and (g.gap_to > "from" or g.gap_to is null)
            ), steps as (
                select s.account, s.service, s.zone_id, e.place, sum(e.one) as more
                from spans as s
                cross join instants as i
                cross join lateral (values
                    (width_bucket(s.since - interval '1 microsecond', i.all_of_them), s.one),
                    (width_bucket(s.until - interval '1 microsecond', i.all_of_them), -s.one)
                ) as e (place, one)
                where e.place < cardinality(i.all_of_them)
                group by s.account, s.service, s.zone_id, e.place
            )
            select t.at, c.account, c.service, c.zone_id,
                   case when c.coverage = 'known' then
                       coalesce(sum(s.more) over (
                           partition by c.account, c.service, c.zone_id order by t.at), 0)::bigint
                   end
            from instants as i
            cross join unnest(i.all_of_them) with ordinality as t (at, place)
            cross join syncer.zone_coverage(t.at) as c
            left join steps as s on s.account = c.account and s.service = c.service
                and s.zone_id = c.zone_id and s.place = t.place - 1;
        end""")
    op.execute("""
        comment on function syncer.image_counts(timestamptz, timestamptz, interval) is
            'How many images each zone had at each instant from one to another, step by step; '
            'null where that was unknown'""")
