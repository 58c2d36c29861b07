-- The life of models: aliases, promotions with their evidence, recorded predictions and what was true of them, monitors,
-- trials, who uses a version, and arrivals of tasks. Model files are in the model folder; versions are theirs.

-- One row an alias and name: `champion` answers, `candidate` answers the same tasks in its shadow.
create table seedcore.model_aliases (
  name    text not null,
  alias   text not null check (alias in ('champion', 'candidate')),
  version integer not null check (version > 0),
  since   timestamptz not null default now(),
  set_by  text,
  reason  text,
  primary key (name, alias)
);

-- Every decision about which version answers. `champion` is the version that answered when it was opened; null: none did.
-- `terms`: alpha, margins and floors that it is decided by; `state`: of the test, while it goes on; `evidence`: what
-- decided, with the points of its plot.
create table seedcore.promotions (
  id          uuid primary key default seedcore.new_id(),
  name        text not null,
  champion    integer,
  candidate   integer not null,
  status      text not null check (status in ('shadowing', 'promoted', 'refused', 'withdrawn', 'rolled_back')),
  forced      boolean not null default false,
  opened_by   text,
  reason      text,
  opened_at   timestamptz not null default now(),
  decided_at  timestamptz,
  watch_until timestamptz,
  terms       jsonb not null default '{}',
  state       jsonb not null default '{}',
  evidence    jsonb not null default '{}'
);
create unique index promotions_open on seedcore.promotions (name) where status = 'shadowing';
create index promotions_watched on seedcore.promotions (watch_until) where watch_until is not null;
create index promotions_name on seedcore.promotions (name, id);

-- Predictions of `ml.predict` tasks by models that have a champion, newest last. `features`: in the order of the model's
-- schema, null where one is missing; categories by their number. `candidate*`: the shadow's, which no caller gets.
create table seedcore.predictions (
  seq               bigint generated always as identity primary key,
  task_id           uuid not null,
  tenant            text not null,
  name              text not null,
  version           integer not null,
  answer            jsonb not null,
  features          real[] not null,
  seconds           real not null,
  promotion         uuid,
  candidate         integer,
  candidate_answer  jsonb,
  candidate_seconds real,
  made_at           timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01);
create unique index predictions_task on seedcore.predictions (task_id);
create index predictions_name on seedcore.predictions (name, seq);

-- What was true of a task's prediction: the first one that was said. `judged_at`: when the gate counted it with its
-- prediction, or stopped waiting for one; a position by `seq` alone would miss what commits late.
create table seedcore.outcomes (
  task_id   uuid primary key,
  seq       bigint generated always as identity,
  tenant    text not null,
  name      text not null,
  label     jsonb not null,
  known_at   timestamptz not null default now(),
  judged_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.01);
create unique index outcomes_seq on seedcore.outcomes (name, seq);
create index outcomes_open on seedcore.outcomes (name, seq) where judged_at is null;

-- Monitors of a model in use: what they have seen, and what they found.
create table seedcore.model_monitors (
  name       text primary key,
  version    integer not null,
  state      bytea,
  facts      jsonb not null default '{}',
  updated_at timestamptz not null default now()
);

-- Retrainings that triages began, so that interval and budget hold over replicas and restarts.
create table seedcore.retrainings (
  triage  uuid primary key,
  name    text not null,
  task_id uuid not null,
  at      timestamptz not null default now()
);
create index retrainings_name on seedcore.retrainings (name, at);
create index retrainings_at on seedcore.retrainings (at);

-- Changes with every alias and promotion, so that a process that keeps them sees by one row whether they are current.
create table seedcore.model_generation (
  one        boolean primary key default true check (one),
  generation bigint not null
);
insert into seedcore.model_generation values (true, 1);
create or replace function seedcore.note_models() returns trigger language plpgsql as $$
begin
  update seedcore.model_generation set generation = generation + 1;
  return null;
end $$;
create trigger models_changed after insert or update or delete on seedcore.model_aliases
  for each statement execute function seedcore.note_models();

-- A version that a job works with; it counts until its task has ended.
create table seedcore.model_uses (
  task_id uuid not null,
  name    text not null,
  version integer not null,
  primary key (task_id, name, version)
);

-- Trials of a tuning job. `scores`: one a rung, [rounds, score].
create table seedcore.tuning_trials (
  job_id     uuid not null,
  trial      text not null,
  params     jsonb not null,
  status     text not null check (status in ('running', 'pruned', 'completed', 'failed')),
  scores     jsonb not null default '[]',
  updated_at timestamptz not null default now(),
  primary key (job_id, trial)
);

-- Tasks that were submitted in the 15 seconds from `at`, by queue and type; no row: none.
create table seedcore.arrivals (
  queue text not null,
  type  text not null,
  at    timestamptz not null,
  tasks integer not null check (tasks > 0),
  primary key (queue, type, at)
);
create index arrivals_at on seedcore.arrivals (at);

-- From when to when arrivals were counted without a gap; what comes after `until` may still change.
create table seedcore.arrivals_counted (
  one         boolean primary key default true check (one),
  since       timestamptz not null,
  until_final timestamptz not null
);

-- Ended tasks of the tenant that `seedcore.tenant` names, for training; a client's SELECT sees nothing else.
create view seedcore.history with (security_barrier) as
select t.id, t.type, t.domain, t.queue, t.priority, t.params, t.parent_id, t.step, t.max_attempts,
       coalesce(f.status, 'failed') as status,
       coalesce(f.attempts, x.attempts) as attempts, f.result,
       coalesce(f.error_code, x.error_code) as error_code,
       coalesce(f.decision, x.decision) ->> 'route' as route, coalesce(f.decision, x.decision) ->> 'agent' as agent,
       t.created_at, coalesce(f.started_at, x.started_at) as started_at, coalesce(f.finished_at, x.finished_at) as finished_at,
       extract(epoch from coalesce(f.finished_at, x.finished_at) - coalesce(f.started_at, x.started_at))::float8 as seconds,
       o.label as outcome
from seedcore.tasks t
left join seedcore.finished f on f.id = t.id
left join seedcore.dead x on x.id = t.id
left join seedcore.outcomes o on o.task_id = t.id
where (f.id is not null or x.id is not null) and t.tenant = current_setting('seedcore.tenant', true);
