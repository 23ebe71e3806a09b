"""Names too long for an index: a zone that had one failed in every run.

Revision ID: 0027
Revises: 0026
"""

import re

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# In small letters: dates, seconds since 1970, and build numbers at the end of a name. As in 0020.
MONTH_DAY = "(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
MONTH_AND_DAY = "[-._/](?:0[1-9]|1[0-2])[-._/](?:0[1-9]|[12][0-9]|3[01])"
TIME = "(?:[01][0-9]|2[0-3]):?[0-5][0-9](?::?[0-5][0-9])?z?"
STAMPS = (
    r"(?:[ \t\n\v\f\r._(\[,@-]+(?:"
    f"v?20[0-9]{{2}}(?:{MONTH_DAY}|{MONTH_AND_DAY})(?:[t _-]?{TIME})?(?:[.-][0-9]{{1,2}})?"
    r"|v?1[4-9][0-9]{8}|build[ ._:#-]{0,2}[0-9]+(?:[.][0-9]+)*)[\])]*)+$"
)


def upgrade() -> None:
    # A name of more letters is none by which one image replaces another; an entry of the index
    # holds at most 2,700 bytes. The index is made anew, as it may hold what longer ones came to.
    op.execute("""
        -- squawk-ignore require-concurrent-index-deletion
        drop index syncer_store.images_came""")
    stamps = re.sub(r":(?=\w)", r"\:", STAMPS)  # or they would be parameters
    op.execute(f"""
        create or replace function syncer_store.plain_name(name text) returns text
        language plpgsql immutable strict parallel safe
        as $$
        declare
            small text := btrim(lower(name collate "C"), E' \\t\\n\\x0b\\f\\r');
            unstamped text;
        begin
            if length(name) > 500 then
                return null;
            end if;
            unstamped := coalesce(nullif(regexp_replace(small, '{stamps}', ''), ''), small);
            return nullif(regexp_replace(
                regexp_replace(unstamped, '[ \\t\\n\\v\\f\\r]+', ' ', 'g'),
                '(?<![0-9]) | (?![0-9])', '', 'g'), '');
        end $$""")
    op.execute("""
        create index images_came on syncer_store.images
            (zone_key, syncer_store.plain_name(image_name))
        where opened_not_before is not null""")
