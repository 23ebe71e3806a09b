"""The digests of a zone's rows stand with the rows: they need no copy beside those of the zone.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A table of ours alone: a program of another revision reads nothing of it.
    op.execute("""
        -- squawk-ignore ban-drop-column
        alter table syncer_store.zone_digests drop column rows""")
