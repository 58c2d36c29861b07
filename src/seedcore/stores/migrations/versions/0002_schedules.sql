-- What fires again and again, and the task that each firing submits. `next_at` is the tick that is still to be fired; it
-- is null while the schedule is paused, and when it has ended.
create table seedcore.schedules (
  id           text primary key check (length(id) between 1 and 100),
  type         text not null check (length(type) between 1 and 200),
  params       jsonb not null,
  queue        text not null,
  slow         boolean not null,
  domain       text,
  priority     smallint not null check (priority between -100 and 100),
  max_attempts smallint not null check (max_attempts between 1 and 100),
  timeout_s    real check (timeout_s > 0),
  task_limit   jsonb,
  cron         text,
  every_s      double precision check (every_s >= 1),
  timezone     text not null,
  catch_up     text not null check (catch_up in ('skip', 'last', 'all')),
  max_catch_up smallint not null check (max_catch_up between 1 and 100),
  starts_at    timestamptz,
  ends_at      timestamptz,
  paused       boolean not null default false,
  next_at      timestamptz,
  last_at      timestamptz,
  last_task_id uuid,
  fired        bigint not null default 0,
  skipped      bigint not null default 0,
  error        text,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  check ((cron is null) <> (every_s is null)),
  check (not (paused and next_at is not null))
) with (fillfactor = 70);
create index schedules_due on seedcore.schedules (next_at) where not paused;

-- Which schema the session's release knows. Release 0001 does not say so; 0003 takes the default away when it has gone.
alter table seedcore.sessions add column schema_version text not null default '0001';
