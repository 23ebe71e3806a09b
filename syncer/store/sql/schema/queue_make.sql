-- A schema of its own for the queue of workers: its tables are procrastinate's.
create schema if not exists syncer_queue;
comment on schema syncer_queue is 'The queue of syncer worker: the tables of procrastinate';
create table if not exists syncer_queue.applied (name text primary key);
comment on table syncer_queue.applied is 'Which of procrastinate''s migrations were applied'
