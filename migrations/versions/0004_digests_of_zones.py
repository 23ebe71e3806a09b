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
            parser     bigint not null,
            asked      integer not null,
            total      bigint,
            images     integer not null,
            pages      bytea not null,
            content    bytea not null,
            rows       bytea not null
        )""")
    op.execute("""
        comment on table syncer_store.zone_digests is
        'A cache: after editing images by hand, delete from it or run syncer sync --full'""")
    invariants()


def invariants() -> None:
    # The same rule as before, asked once a statement and not once a row: 2 x 33 us a changed row
    # became 2 x 6.
    op.execute("drop trigger images_latest_is_last on syncer_store.images")
    op.execute("drop trigger image_history_is_past on syncer_store.image_history")
    op.execute("""
        create or replace function syncer_store.check_latest_is_last() returns trigger
        language plpgsql set search_path = '' as $$
        declare
            astray text;
        begin
            -- Versions of an image never overlap: its last closed one ends last. With limit 1 it is
            -- looked for in the index, whatever the planner thinks of tables never analysed.
            select w.image_id into astray
            from written as w
            cross join lateral (
                select i.valid_from from syncer_store.images as i
                where i.zone_key = w.zone_key and i.image_id = w.image_id limit 1) as latest
            cross join lateral (
                select h.valid_to from syncer_store.image_history as h
                where h.zone_key = w.zone_key and h.image_id = w.image_id
                order by h.valid_from desc limit 1) as closed
            where closed.valid_to > latest.valid_from
            limit 1;
            if found then
                raise exception using
                    message = 'a closed version of image ' || astray
                        || ' reaches past its latest version',
                    errcode = 'exclusion_violation', constraint = 'images_latest_is_last';
            end if;
            return null;
        end $$""")
    op.execute("""
        create trigger images_latest_is_last after update on syncer_store.images
        referencing new table as written for each statement
        execute function syncer_store.check_latest_is_last()""")
    op.execute("""
        create trigger image_history_is_past after insert on syncer_store.image_history
        referencing new table as written for each statement
        execute function syncer_store.check_latest_is_last()""")
    op.execute("""
        create trigger image_history_stays_past after update on syncer_store.image_history
        referencing new table as written for each statement
        execute function syncer_store.check_latest_is_last()""")
