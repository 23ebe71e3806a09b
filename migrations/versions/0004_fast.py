"""What the last whole look at a zone read, in digests: the same again is not looked into.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A row stands only while what is stored as present is exactly what that look listed, with
    # nothing withheld or waiting. In a table of its own: zones stay narrow, and a deleted row is
    # all it takes to have a zone compared in full.
    op.execute("""
        create table syncer_store.zone_digests (
            zone_key   integer primary key,
            parser     smallint not null,
            asked      integer not null,
            total      bigint,
            images     integer not null,
            pages      bytea not null,
            content    bytea not null
        )""")
    op.execute("""
        comment on table syncer_store.zone_digests is
        'A cache: after editing images by hand, delete from it or run syncer sync --full'""")
