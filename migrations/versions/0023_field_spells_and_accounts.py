"""How long a field had a value; which names accounts do not offer alike.

Revision ID: 0023
Revises: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

EIGHT = ("image_name", "image_type", "image_size", "image_description")
EIGHT += ("image_version", "image_status", "category", "os_type")
LATER = ("nic_network_type", "image_source", "min_disk_size")
SERVICE = "vm, zec or bmc: the service of Zenlayer Cloud whose image it is"
COMMENTS = {
    "image_field_spells": {
        "": "From when to when each field of an image had each value; filter by field or image",
        "account": "The credentials that it was read with, by the name that you gave them",
        "service": SERVICE,
        "zone_id": "The zone, by its id in the API; bmc has the one zone *",
        "image_id": "The image, by its id in the API; the same id may occur in several zones",
        "field": "The name of the column of image_versions",
        "value": "The value, as text (null: the API sent none)",
        "spell_from": "When the value was first seen",
        "spell_to": "When another one was first seen, or that the image is gone (null: it lasts)",
        "duration": "How long that was (null: it lasts)",
    },
    "account_spread": {
        "": "Names that the accounts of a service do not offer alike: not in all, or otherwise",
        "service": SERVICE,
        "image_name": "The name",
        "differs": "In what: accounts (some lack it), image_version, image_size, image_status",
        "accounts": "The accounts that have it in some zone",
        "missing_accounts": "The accounts that have none, though a zone of each was read whole",
        "image_versions": "The versions there are",
        "image_sizes": "The sizes there are",
        "image_statuses": "The statuses there are",
        "account_count": "How many accounts have it",
        "missing_count": "How many have none",
    },
}


def upgrade() -> None:
    image_field_spells()
    account_spread()
    for view, columns in COMMENTS.items():
        for column, meaning in columns.items():
            of = f"column syncer.{view}.{column}" if column else f"view syncer.{view}"
            op.execute(f"comment on {of} is '{meaning}'")


def image_field_spells() -> None:
    # Versions one after the other with the same value are one spell, unless the image was away
    # between them. All columns that one filters by are of the partition: filters reach the tables.
    fields = [f"('{name}', v.{name}, true)" for name in EIGHT]
    fields += [f"('{name}', v.{name}, coalesce(v.added ? '{name}', false))" for name in LATER]
    values = ",\n                        ".join(fields)
    op.execute(f"""
        create view syncer.image_field_spells as
        select account, service, zone_id, image_id, field,
               (array_agg(value order by valid_from))[1] as value,
               min(valid_from) as spell_from,
               nullif(max(coalesce(valid_to, 'infinity')), 'infinity') as spell_to,
               nullif(max(coalesce(valid_to, 'infinity')), 'infinity') - min(valid_from) as duration
        from (
            select *, sum(begins) over (of_one rows unbounded preceding) as number
            from (
                select *, (
                    lag(valid_to) over of_one is distinct from valid_from
                    or lag(same) over of_one is distinct from same)::integer as begins
                from (
                    select v.account, v.service, v.zone_id, v.image_id, v.valid_from, v.valid_to,
                           f.field, f.value,
                           case f.field when 'image_size' then syncer_store.plain_size(f.value)
                                else f.value end as same
                    from syncer.image_versions as v
                    cross join lateral (values
                        {values}) as f (field, value, known)
                    where f.known
                ) as each_field
                window of_one as (
                    partition by account, service, zone_id, image_id, field order by valid_from)
            ) as marked
            window of_one as (
                partition by account, service, zone_id, image_id, field order by valid_from)
        ) as numbered
        group by account, service, zone_id, image_id, field, number""")


def account_spread() -> None:
    # Accounts differ where the sets of their values do, as zones do in image_spread.
    op.execute("""
        create view syncer.account_spread as
        with whole as (
            select service, array_agg(distinct account order by account) as accounts
            from syncer.zones
            where last_complete_at is not null and gone_at is null
            group by service
        ), offered as (
            select service, account, image_name, image_version, image_status,
                   syncer_store.plain_size(image_size) as image_size
            from syncer.images
            where presence = 'present' and image_name is not null
        ), by_account as (
            select service, account, image_name,
                   array_agg(distinct image_version) as versions,
                   array_agg(distinct image_size) as sizes,
                   array_agg(distinct image_status) as statuses
            from offered
            group by service, account, image_name
        ), compared as (
            select service, image_name,
                   count(distinct versions) > 1 as other_versions,
                   count(distinct sizes) > 1 as other_sizes,
                   count(distinct statuses) > 1 as other_statuses
            from by_account
            group by service, image_name
        ), together as (
            select service, image_name,
                   array_agg(distinct account order by account) as accounts,
                   array_agg(distinct image_version order by image_version) as image_versions,
                   array_agg(distinct image_size order by image_size) as image_sizes,
                   array_agg(distinct image_status order by image_status) as image_statuses
            from offered
            group by service, image_name
        )
        select t.service, t.image_name,
               array_remove(array[
                   case when m.missing <> '{}' then 'accounts' end,
                   case when c.other_versions then 'image_version' end,
                   case when c.other_sizes then 'image_size' end,
                   case when c.other_statuses then 'image_status' end], null) as differs,
               t.accounts, m.missing as missing_accounts,
               t.image_versions, t.image_sizes, t.image_statuses,
               cardinality(t.accounts) as account_count, cardinality(m.missing) as missing_count
        from together as t
        join compared as c using (service, image_name)
        join whole as w using (service)
        cross join lateral (
            select array(select a from unnest(w.accounts) as a
                         where a <> all (t.accounts) order by a) as missing) as m
        where m.missing <> '{}' or c.other_versions or c.other_sizes or c.other_statuses""")
