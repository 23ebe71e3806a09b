"""Rows as they were served, in digests: those that come again are not read.

Revision ID: 0026
Revises: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What is kept was hashed with SHA-256. Without a default: a program that knows less, and would
    # leave what is added here as it is beside pages of its own, can store none.
    op.execute("""
        alter table syncer_store.zone_digests
            add column hash text not null default 'sha256',
            add column unordered bytea,
            add column rows bytea""")
    op.execute("""
        -- squawk-ignore ban-drop-default
        alter table syncer_store.zone_digests alter column hash drop default""")
    # Digests cannot be compressed; kept outside of the row, nothing else reads or writes them.
    op.execute("alter table syncer_store.zone_digests alter column rows set storage external")
