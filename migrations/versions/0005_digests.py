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
    op.execute("alter table syncer_store.zone_digests drop column rows")
