-- What the ids of access keys are hashed with.
select salt from syncer_store.salt
