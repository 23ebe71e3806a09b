-- Whether more than one account, and more than one service, are chosen or, where none is, stored; and
-- the time.
select coalesce(case when $1::text[] is null
                     then (select min(account) <> max(account) from syncer.runs)
                     else cardinality($1) > 1 end, false) as account,
       case when $2::text[] is null
            then exists (
                select from syncer.zones
                where ($1 is null or account = any ($1)) and service <> (
                    select service from syncer.zones where $1 is null or account = any ($1) limit 1))
            else cardinality($2) > 1 end as service,
       clock_timestamp() as now
