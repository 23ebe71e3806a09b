-- A recorded scan of a zone where a rule of the run withholds images.
update syncer_store.zone_scans as s
set status = 'guarded', withheld = (
    select count(withheld_since) from syncer_store.missing as m where m.zone_key = s.zone_key)
where s.zone_key = $1 and s.run_id = $2
