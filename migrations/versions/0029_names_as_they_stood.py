"""The names of a look's first row, in the order in which they stood.

Revision ID: 0029
Revises: 0028
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null: not known, as of all looks so far. Rows are then taken to be spelt as they were.
    op.execute("alter table syncer_store.zone_digests add column names text[]")
