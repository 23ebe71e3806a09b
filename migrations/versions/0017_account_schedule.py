"""Who crawls which account, on many machines: workers, and when each account is due.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ALIVE = "abs(extract(epoch from now() - seen_at)) < 60"
"""A worker says every few seconds that it is there; whichever way a clock was set."""


def upgrade() -> None:
    tables()
    turns()
    views()
    comments()


def tables() -> None:
    # Every time in them is by the database's clock, and orders nothing: what a clock that stepped
    # left in the future counts as past.
    op.execute("""
        create table syncer_store.workers (
            worker text collate "C" primary key,
            host text not null,
            pid integer not null,
            syncer_version text not null,
            accounts text[] not null,
            at_once integer not null,
            started_at timestamptz not null default clock_timestamp(),
            seen_at timestamptz not null default clock_timestamp(),
            draining boolean not null default false
        ) with (fillfactor = 50)""")
    op.execute("""
        create table syncer_store.account_schedule (
            account text collate "C" primary key,
            every interval not null check (every > interval '0'),
            due_at timestamptz not null default clock_timestamp(),
            taken bigint not null default 0,
            ended bigint not null default 0,
            worker text,
            started_at timestamptz,
            ended_at timestamptz,
            pruned_at timestamptz,
            failures integer not null default 0,
            result text
        ) with (fillfactor = 50)""")
    op.execute("""
        create table syncer_store.ticks (
            one boolean primary key default true check (one),
            ticked_at timestamptz not null
        ) with (fillfactor = 50)""")


def turns() -> None:
    # As text, so that the view may be made anew without it. It reads what a reader may not. A run
    # whose time is up is taken over by whoever begins one.
    op.execute("""
        create function syncer_store.at_work(of_account text) returns boolean
        language sql stable security definer set search_path to '' as $$
        select coalesce((
            select r.pid is not null and r.deadline_at >= now() from syncer.runs as r
            where r.run_id = (
                select a.run_id from syncer_store.accounts as a where a.account = of_account)
        ), false)
        $$""")
    # A worker that died had taken its account: it is due again, after a while in which a run that
    # was just taken begins. Where its run was done and only its end not noted, the next is due in
    # its time. What ended later than now was stamped by a clock that has stepped back since.
    op.execute("""
        create function syncer_store.is_due(
            s syncer_store.account_schedule, grace double precision) returns boolean
        language sql stable
        return case
            when s.taken = s.ended and s.due_at > now() and s.ended_at <= now() then false
            when syncer_store.at_work(s.account) then false
            when s.taken = s.ended then true
            else coalesce((
                select coalesce(r.clock_at, r.started_at) + s.every <= now()
                from syncer_store.accounts as a
                join syncer_store.runs as r using (run_id)
                where a.account = s.account and r.status in ('succeeded', 'partial')
                  and coalesce(r.clock_at, r.started_at) >= s.started_at
            ), s.started_at <= now() - make_interval(secs => grace) or s.started_at > now())
            end""")


def views() -> None:
    op.execute(f"""
        create view syncer.workers as
        select w.worker, w.host, w.pid, w.syncer_version, w.started_at, w.seen_at,
               {ALIVE} as alive, w.draining, cardinality(w.accounts) as accounts, w.at_once,
               (select count(*) from syncer_store.account_schedule as s
                where s.worker = w.worker and s.taken <> s.ended) as running
        from syncer_store.workers as w""")
    op.execute(f"""
        create view syncer.account_schedule as
        with served as (
            select account, count(*) as workers
            from syncer_store.workers as w
            cross join lateral unnest(w.accounts) as a (account)
            where {ALIVE} and not w.draining
            group by account
        )
        select s.account, s.every, s.due_at, s.worker, s.started_at, s.ended_at, s.failures,
               s.result, coalesce(v.workers, 0) as workers,
               case when s.taken <> s.ended and syncer_store.at_work(s.account) then 'running'
                    when s.taken <> s.ended and s.started_at > now() - interval '2 minutes'
                        then 'taken'
                    when s.taken = s.ended and s.due_at > now() then 'waiting'
                    when s.due_at > now() - s.every then 'due'
                    else 'late' end as state
        from syncer_store.account_schedule as s
        left join served as v using (account)""")


def comments() -> None:
    for name, text in {
        "table syncer_store.account_schedule": "What workers crawl, and when it is due; taken and "
        "ended count, so that a job that lost its turn changes nothing",
        "table syncer_store.ticks": "Who claims its row hands out the accounts that are due",
        "view syncer.workers": "The processes of syncer worker that are there, or were lately",
        "column syncer.workers.worker": "Its name: host, process and a random part",
        "column syncer.workers.alive": "Whether it was seen within the last minute",
        "column syncer.workers.draining": "It was asked to end: it takes no more accounts",
        "column syncer.workers.accounts": "How many accounts it has the credentials of",
        "column syncer.workers.at_once": "How many accounts it crawls side by side, at most",
        "column syncer.workers.running": "How many accounts it crawls now",
        "view syncer.account_schedule": "The accounts that workers crawl: whose turn it is, and "
        "who crawls them; accounts of syncer serve and of cron are not in it",
        "column syncer.account_schedule.every": "From the start of one run to that of the next",
        "column syncer.account_schedule.due_at": "When the next run is due",
        "column syncer.account_schedule.worker": "Which worker took it last",
        "column syncer.account_schedule.started_at": "When a worker took it last",
        "column syncer.account_schedule.ended_at": "When the last run by a worker ended",
        "column syncer.account_schedule.failures": "Runs in a row that failed or were refused",
        "column syncer.account_schedule.result": "How the last run by a worker ended",
        "column syncer.account_schedule.workers": "Workers that are there and have its credentials",
        "column syncer.account_schedule.state": "running; taken (by a worker, or by one that died "
        "and whose turn is given away soon); waiting (for its time); due; late (for longer than "
        "its interval)",
    }.items():
        op.execute(f"comment on {name} is '{text}'")
