"""Stamps that were made while the clock was ahead can be repaired; what they were is kept.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    repairs()
    stamps()
    repaired_stamp()


def repairs() -> None:
    op.execute("""
        create table syncer_store.clock_repairs (
            account     text collate "C" not null,
            repaired_at timestamptz not null,
            old_at      timestamptz not null,
            new_at      timestamptz not null,
            timed       boolean not null,
            repaired_by text not null,
            primary key (account, repaired_at, old_at)
        )""")
    op.execute("""
        create view syncer.clock_repairs as
        select account, repaired_at, old_at, new_at, timed, repaired_by
        from syncer_store.clock_repairs""")
    op.execute("""
        comment on view syncer.clock_repairs is
        'Stamps that were made while the clock was ahead: what they were, and what syncer db'
        ' repair-clock made of them'""")
    for column, meaning in (
        ("account", "The account whose stamp it is"),
        ("repaired_at", "When it was repaired, by the clock: the same for all of one repair"),
        ("old_at", "What the stamp was"),
        ("new_at", "What it is since"),
        (
            "timed",
            "Whether new_at is the time by the clock of its run; else only its order is known",
        ),
        ("repaired_by", "Who repaired it"),
    ):
        op.execute(f"comment on column syncer.clock_repairs.{column} is '{meaning}'")


def stamps() -> None:
    # Every instant on the time line of an account: a repair that forgot one would break the order.
    op.execute("""
        create view syncer_store.stamps as
        select r.account, s.at
        from syncer_store.runs as r
        cross join lateral (values (r.started_at), (r.finished_at)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.zones as z
        cross join lateral (values (z.first_seen_at), (z.gone_at), (z.newest_at)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.zone_scans as c
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (c.started_at), (c.observed_at), (c.finished_at)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.stretches as c
        join syncer_store.zones as z using (zone_key)
        cross join lateral unnest(c.observed || c.finished) as s (at)
        union all
        select z.account, s.at
        from syncer_store.images as i
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (i.first_seen_at), (i.valid_from), (i.opened_not_before),
            (i.removed_at), (i.removed_not_before)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.image_history as h
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (h.valid_from), (h.valid_to), (h.opened_not_before),
            (h.removed_not_before)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.missing as m
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (m.missing_since), (m.last_listed_at), (m.withheld_since))
            as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.image_gaps as g
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (g.gap_from), (g.gap_to), (g.seen_at), (g.last_listed_at),
            (g.withheld_since)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.approvals as a
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (a.approved_at), (a.decided_at)) as s (at)
        where s.at is not null
        union all
        select z.account, s.at
        from syncer_store.retirements as t
        join syncer_store.zones as z using (zone_key)
        cross join lateral (values (t.retired_at), (t.ended_at)) as s (at)
        where s.at is not null
        union all
        select z.account, k.kept_from
        from syncer_store.retention as k
        join syncer_store.zones as z using (zone_key)
        where k.kept_from is not null""")
    op.execute("""
        comment on view syncer_store.stamps is
        'Every instant on the time line of an account, as often as it is stored'""")


def repaired_stamp() -> None:
    op.execute("""
        create function syncer_store.repaired_stamp(
            of_account text, of_repair timestamptz, at timestamptz)
        returns timestamptz
        language sql stable
        return coalesce(
            (select r.new_at from syncer_store.clock_repairs as r
             where r.account = of_account and r.repaired_at = of_repair and r.old_at = at),
            at)""")
