"""A transaction whose COMMIT was not heard of can be told from one that was not done.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A scan is recorded once and amended at most once, after the last zone.
    op.execute("""
        alter table syncer_store.zone_scans
            add column amended boolean not null default false""")
