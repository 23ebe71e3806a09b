"""How images differ between accounts: each name is looked at once, not once for each name.

Revision ID: 0030
Revises: 0029
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # As in 0028, but for the two conditions on presence. PostgreSQL takes what equals a value for
    # rare, and joined the groups of thousands of images as if there were one or two of them.
    op.execute("""
        create or replace view syncer.account_spread as
        with whole as (
            select service, array_agg(distinct account order by account) as accounts
            from syncer.zones
            where last_complete_at is not null and gone_at is null
            group by service
        ), named as materialized (
            select service, account, image_name, image_version, image_status, presence,
                   syncer_store.plain_size(image_size) as image_size
            from syncer.images
            where presence <> 'absent' and image_name is not null
        ), offered as (
            select * from named where presence <> 'unknown'
        ), unsure as (
            select service, image_name, array_agg(distinct account) as accounts
            from named
            where presence = 'unknown'
            group by service, image_name
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
        left join unsure as u using (service, image_name)
        cross join lateral (
            select array(select a from unnest(w.accounts) as a
                         where a <> all (t.accounts || coalesce(u.accounts, '{}'))
                         order by a) as missing) as m
        where m.missing <> '{}' or c.other_versions or c.other_sizes or c.other_statuses""")
