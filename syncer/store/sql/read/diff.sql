-- What differs between two instants ($5 before $6), as `syncer diff` shows it. A version that
-- covers both is no difference; of a zone or an image that was unknown at either there is one row
-- that says so.
with first_look as materialized (
    select * from syncer.zone_coverage($5)
), last_look as materialized (
    select * from syncer.zone_coverage($6)
), known as materialized ( -- or it would be looked at again for each row of the others
    select account, service, zone_id
    from syncer.zones
    where first_seen_at <= $6
      and ($1::text[] is null or account = any ($1))
      and ($2::text[] is null or service = any ($2))
      and ($3::text[] is null or zone_id ~ any ($3))
), zone as materialized (
    select account, service, zone_id,
           a.gone or b.gone as gone,
           a.coverage = 'known' as known_before, b.coverage = 'known' as known_after,
           case when a.gone and b.gone then null
                when b.gone is null and $6 > clock_timestamp()
                    then 'the later instant has not come yet'
                when b.gone is null then 'what was known at the later instant is no longer kept'
                when a.gone is null then 'what was known at the earlier instant is no longer kept'
                when b.gone then 'the zone was gone at the later instant'
                when a.gone then 'the zone was gone at the earlier instant'
                when b.coverage = 'unknown' then 'the zone was not read whole by then'
                when a.coverage = 'unknown'
                    then 'the zone was not read whole by the earlier instant'
           end as reason
    from first_look as a
    join last_look as b using (account, service, zone_id)
    join known using (account, service, zone_id)
), missing as materialized (
    select account, service, zone_id, image_id,
           bool_or(gap_from <= $5 and coalesce(gap_to > $5, true)) as before,
           bool_or(gap_from <= $6 and coalesce(gap_to > $6, true)) as after
    from syncer.image_gaps
    where (gap_from <= $5 and coalesce(gap_to > $5, true))
       or (gap_from <= $6 and coalesce(gap_to > $6, true))
    group by account, service, zone_id, image_id
), ended as (
    select v.* from syncer.image_versions as v
    where v.valid_to > $5 and v.valid_to <= $6 and v.valid_from <= $5
      and ($1::text[] is null or v.account = any ($1))
      and ($2::text[] is null or v.service = any ($2))
      and ($3::text[] is null or v.zone_id ~ any ($3))
), begun as (
    select v.* from syncer.image_versions as v
    where v.valid_from > $5 and v.valid_from <= $6 and (v.valid_to is null or v.valid_to > $6)
      and ($1::text[] is null or v.account = any ($1))
      and ($2::text[] is null or v.service = any ($2))
      and ($3::text[] is null or v.zone_id ~ any ($3))
)
select case when e.image_id is null then 'appeared'
            when b.image_id is null then 'removed' else 'changed' end as kind,
       account, service, zone_id, image_id, coalesce(b.image_name, e.image_name) as image_name,
       '{}'::text[] as changed_fields,
       case when e.image_id is not null then
           jsonb_build_object({tracked: '@', e.@}) || coalesce(e.added, '{}') end as before,
       case when b.image_id is not null then
           jsonb_build_object({tracked: '@', b.@}) || coalesce(b.added, '{}') end as after,
       coalesce(b.valid_from, e.valid_to) as changed_at, null as reason,
       case when b.image_id is null then {replaced: e} end as replaced_by
from ended as e
full join begun as b using (account, service, zone_id, image_id)
join zone as z using (account, service, zone_id)
left join missing as m using (account, service, zone_id, image_id)
where not z.gone and m.account is null
  and (e.image_id is not null or z.known_before)
  and (b.image_id is not null or z.known_after)
  and ($4::text[] is null or image_id ~ any ($4)
       or e.image_name ~ any ($4) or b.image_name ~ any ($4))
union all
select 'unknown', account, service, zone_id, image_id, i.image_name, '{}', null, null, null,
       case when m.before then 'it was not listed at the earlier instant, and not confirmed absent'
            else 'it was not listed at the later instant, and not confirmed absent' end, null
from missing as m
join zone as z using (account, service, zone_id)
join syncer.images as i using (account, service, zone_id, image_id)
where m.before <> m.after and z.reason is null and not z.gone
  and ($4::text[] is null or image_id ~ any ($4) or i.image_name ~ any ($4))
union all
select 'unknown', account, service, zone_id, null, null, '{}', null, null, null, reason, null
from zone
where reason is not null
order by account, service, zone_id, image_id nulls first
