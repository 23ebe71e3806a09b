-- The sequences behind our ids: the newest id that is in use, the last that was given out, and
-- whether this role may set them right.
select s.sequence, s.newest,
       case when has_sequence_privilege(s.sequence, 'usage, select')
            then coalesce(pg_sequence_last_value(s.sequence::regclass), 0) end as last_given,
       has_sequence_privilege(s.sequence, 'update') as movable
from (values
    (pg_get_serial_sequence('syncer_store.runs', 'run_id'),
     (select max(run_id) from syncer_store.runs)),
    (pg_get_serial_sequence('syncer_store.zones', 'zone_key'),
     (select max(zone_key) from syncer_store.zones)),
    (pg_get_serial_sequence('syncer_store.approvals', 'approval_id'),
     (select max(approval_id) from syncer_store.approvals)),
    (pg_get_serial_sequence('syncer_store.baselines', 'baseline_id'),
     (select max(baseline_id) from syncer_store.baselines))
) as s (sequence, newest)
