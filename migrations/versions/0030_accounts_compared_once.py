"""How images differ between accounts: all images are looked at once, whatever names they have.

Revision ID: 0030
Revises: 0029
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The answers of 0028, which joined groups of images: as the planner takes few to be present, it
    # compared each with each. All accounts have the same values where there are as many pairs of
    # account and value as accounts times values.
    differ = "t.{0} <> cardinality(t.accounts) * cardinality(t.image_{0})"
    versions, sizes, statuses = map(differ.format, ("versions", "sizes", "statuses"))
    op.execute(f"""
        create or replace view syncer.account_spread as
        with whole as (
            select service, array_agg(distinct account order by account) as accounts
            from syncer.zones
            where last_complete_at is not null and gone_at is null
            group by service
        ), named as (
            select service, account, image_name, image_version, image_status,
                   syncer_store.plain_size(image_size) as image_size,
                   presence <> 'unknown' as offered
            from syncer.images
            where presence <> 'absent' and image_name is not null
        ), together as (
            select service, image_name, array_agg(distinct account) as known,
                   array_agg(distinct account order by account) filter (where offered) as accounts,
                   array_agg(distinct image_version order by image_version)
                       filter (where offered) as image_versions,
                   array_agg(distinct image_size order by image_size)
                       filter (where offered) as image_sizes,
                   array_agg(distinct image_status order by image_status)
                       filter (where offered) as image_statuses,
                   count(distinct row(account, image_version)) filter (where offered) as versions,
                   count(distinct row(account, image_size)) filter (where offered) as sizes,
                   count(distinct row(account, image_status)) filter (where offered) as statuses
            from named
            group by service, image_name
        )
        select t.service, t.image_name,
               array_remove(array[
                   case when m.missing <> '{{}}' then 'accounts' end,
                   case when {versions} then 'image_version' end,
                   case when {sizes} then 'image_size' end,
                   case when {statuses} then 'image_status' end], null) as differs,
               t.accounts, m.missing as missing_accounts,
               t.image_versions, t.image_sizes, t.image_statuses,
               cardinality(t.accounts) as account_count, cardinality(m.missing) as missing_count
        from together as t
        join whole as w using (service)
        cross join lateral (
            select array(select a from unnest(w.accounts) as a
                         where a <> all (t.known)
                         order by a) as missing) as m
        where t.accounts is not null
          and (m.missing <> '{{}}' or {versions} or {sizes} or {statuses})""")
