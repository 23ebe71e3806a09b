"""The names of a look's first row, as they stood; by what its rows differ from those that are kept.

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
    # A change of a few images writes these, and not the digests of all of its zone.
    op.execute("""
        alter table syncer_store.zone_digests add column names text[], add column amended bytea""")
    op.execute("alter table syncer_store.zone_digests alter column amended set storage external")
