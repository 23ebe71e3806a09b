"""What a run learnt of the API's rate limit; whether a transaction not heard of is done.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A scan is recorded once and amended at most once, after the last zone. Where the connection is
    # lost during COMMIT, this tells whether it is done.
    op.execute("""
        alter table syncer_store.zone_scans
            add column amended boolean not null default false""")
    op.execute("""
        create table syncer_store.rate_limits (
            account   text collate "C" primary key,
            rate      double precision not null,
            run_id    bigint not null,
            learnt_at timestamptz not null default clock_timestamp(),
            constraint rate_limits_are_rates check (rate > 0 and rate < 'infinity')
        )""")
    op.execute("""
        create view syncer.rate_limits as
        select account, rate as calls_per_second, learnt_at, run_id
        from syncer_store.rate_limits""")
    op.execute("""
        comment on view syncer.rate_limits is
        'The rate at which the API took the calls of an account, where it ever refused some'""")
