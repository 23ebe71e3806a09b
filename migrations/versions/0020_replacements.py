"""What replaced an image that went: one that came to its zone under the same name.

Revision ID: 0020
Revises: 0019
"""

import re

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COLUMNS = {
    "account": "The credentials that both were read with, by the name that you gave them",
    "service": "vm, zec or bmc: the service of Zenlayer Cloud whose images they are",
    "zone_id": "The zone of both, by its id in the API",
    "image_id": "The image that went, by its id in the API",
    "image_name": "Its name when it was seen last",
    "image_version": "Its version when it was seen last",
    "removed_at": "Since when it is confirmed to be absent (null: it is not)",
    "unlisted_since": "The first whole look that did not list it (null: it is confirmed absent)",
    "withheld_since": "Since when its removal waits for a person (null: it does not)",
    "candidate": "Which one it is: 1 is the likeliest; the same name first, then the newest",
    "rule": "same_name, or similar_name: but for case, blanks and a date or build at the end",
    "replacement_id": "The image that is there instead, by its id in the API",
    "replacement_name": "Its name",
    "replacement_version": "Its version: look whether it is the one that you want",
    "replacement_status": "Whether it can be used: for instance AVAILABLE",
    "replacement_since": "When it came to the zone",
}
# In small letters: dates, seconds since 1970, and build numbers at the end of a name. The same as
# in syncer/core/replacement.py, as it was when this migration was made.
MONTH_DAY = "(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
MONTH_AND_DAY = "[-._/](?:0[1-9]|1[0-2])[-._/](?:0[1-9]|[12][0-9]|3[01])"
TIME = "(?:[01][0-9]|2[0-3]):?[0-5][0-9](?::?[0-5][0-9])?z?"
STAMPS = (
    r"(?:[ \t\n\v\f\r._(\[,@-]+(?:"
    f"v?20[0-9]{{2}}(?:{MONTH_DAY}|{MONTH_AND_DAY})(?:[t _-]?{TIME})?(?:[.-][0-9]{{1,2}})?"
    r"|v?1[4-9][0-9]{8}|build[ ._:#-]{0,2}[0-9]+(?:[.][0-9]+)*)[\])]*)+$"
)
REPLACED = """
        select z.account, z.service, z.zone_id, o.image_id, o.image_name, o.image_version,
               {removed}, {unlisted}, {withheld},
               n.candidate::integer, n.rule, n.image_id as replacement_id,
               n.image_name as replacement_name, n.image_version as replacement_version,
               n.image_status as replacement_status, n.came_at as replacement_since
        from {went}
        join syncer_store.zones as z on z.zone_key = o.zone_key
        cross join lateral (
            select i.image_id, i.image_name, i.image_version, i.image_status, came.at as came_at,
                   case when i.image_name = o.image_name then 'same_name'
                        else 'similar_name' end as rule,
                   row_number() over (order by
                       (i.image_name = o.image_name) desc, came.at desc, i.image_id) as candidate
            from syncer_store.images as i
            cross join lateral (
                select case when i.opened_kind <> 'changed' then i.valid_from
                            else coalesce((
                                select h.valid_from from syncer_store.image_history as h
                                where h.zone_key = i.zone_key and h.image_id = i.image_id
                                  and h.opened_kind <> 'changed'
                                order by h.valid_from desc limit 1), i.first_seen_at) end as at
            ) as came
            where i.zone_key = o.zone_key
              and syncer_store.plain_name(i.image_name) = syncer_store.plain_name(o.image_name)
              and i.opened_not_before is not null and i.removed_at is null
              and not exists (
                  select from syncer_store.missing as m
                  where m.zone_key = i.zone_key and m.image_id = i.image_id)
              and i.image_id <> o.image_id and came.at > o.first_seen_at
              and lower((i.image_type, i.category, i.os_type)::text collate "C")
                  = lower((o.image_type, o.category, o.os_type)::text collate "C")
        ) as n
        where z.gone_at is null"""


def upgrade() -> None:
    plain_name()
    view()
    comments()


def plain_name() -> None:
    # What is a small letter is asked of the C collation: an index must not depend on a language.
    # plpgsql, as a function in SQL is put into each query, where nobody can read its plan.
    stamps = re.sub(r":(?=\w)", r"\:", STAMPS)  # or they would be parameters
    op.execute(f"""
        create function syncer_store.plain_name(name text) returns text
        language plpgsql immutable strict parallel safe
        as $$
        declare
            small text := btrim(lower(name collate "C"), E' \\t\\n\\x0b\\f\\r');
            unstamped text := coalesce(nullif(regexp_replace(small, '{stamps}', ''), ''), small);
        begin
            return nullif(regexp_replace(
                regexp_replace(unstamped, '[ \\t\\n\\v\\f\\r]+', ' ', 'g'),
                '(?<![0-9]) | (?![0-9])', '', 'g'), '');
        end $$""")
    # Only what came or changed after a whole look is in it: a first load pays for none of it.
    op.execute("""
        create index images_came on syncer_store.images
            (zone_key, syncer_store.plain_name(image_name))
        where opened_not_before is not null""")


def view() -> None:
    # Twice, as what is removed is found by one index, what is missing in a table of its own; each
    # filter reaches both.
    removed = REPLACED.format(
        removed="o.removed_at",
        unlisted="null::timestamptz as unlisted_since",
        withheld="null::timestamptz as withheld_since",
        went="syncer_store.images as o",
    )
    missing = REPLACED.format(
        removed="null::timestamptz as removed_at",
        unlisted="w.missing_since as unlisted_since",
        withheld="w.withheld_since",
        went="""syncer_store.missing as w
        join syncer_store.images as o on o.zone_key = w.zone_key and o.image_id = w.image_id""",
    )
    op.execute(f"""
        create view syncer.image_replacements as
        {removed} and o.removed_run_id is not null
        union all
        {missing}""")


def comments() -> None:
    op.execute("""
        comment on view syncer.image_replacements is 'Images that went (removed, withheld or not '
            'listed), and what came to their zone under the same name: what to pin instead'""")
    for column, meaning in COLUMNS.items():
        op.execute(f"comment on column syncer.image_replacements.{column} is '{meaning}'")
