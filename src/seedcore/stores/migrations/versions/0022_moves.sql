-- What was tried for work that stopped looking like its past, and whether it helped: one row a plan of such a task. `n` counts
-- the plans of the task; `steps` those that ran, `helped` says whether the plan completed. See docs/escalation.md.
create table seedcore.move_outcomes (
  task_id  uuid not null,
  n        smallint not null default 0,
  tenant   text not null,
  stream   text not null,                          -- `type` or `domain/type`
  type     text not null,
  move     text not null,
  detail   jsonb not null default '{}',            -- {incident, sample?, …}
  helped   boolean,
  steps    integer,
  seconds  double precision,
  at       timestamptz not null default now(),
  ended_at timestamptz,
  remembered boolean not null default false,       -- long-term memory knows of it
  primary key (task_id, n)
);
create index move_outcomes_fresh on seedcore.move_outcomes (ended_at) where ended_at is not null and not remembered;
create index move_outcomes_stream on seedcore.move_outcomes (stream, ended_at desc) where ended_at is not null;
create index move_outcomes_at on seedcore.move_outcomes (at);

-- A first sample of a stream's waiting work: `started` of `size` tasks run, the others wait for a person until enough of
-- these have ended well. `open` until then.
create table seedcore.stream_samples (
  stream    text primary key,
  id        uuid not null default seedcore.new_id(),
  status    text not null default 'new' check (status in ('new', 'open', 'passed', 'failed')),
  size      integer not null default 0,
  started   integer not null default 0,
  good      integer not null default 0,
  bad       integer not null default 0,
  opened_at timestamptz not null default now(),
  ended_at  timestamptz
);

create index stream_samples_id on seedcore.stream_samples (id);

-- See functions/moves.sql.
create or replace function seedcore.held_for_sample() returns trigger language plpgsql as $$
declare
  passed boolean;
begin
  select s.status = 'passed' into passed from seedcore.stream_samples s
   where s.id = substring(new.decision->>'reason' from '[(]sample ([0-9a-f-]{36})[)]$')::uuid for share;
  if passed or not found then
    perform seedcore.release_waiting(new.decision->>'reason', new.id);
  end if;
  return null;
end $$;
create trigger held_for_sample after insert on seedcore.held for each row
  when (new.status = 'approval' and new.decision->>'rule' in ('stream_held', 'sample_first')
        and new.decision->>'reason' like '%(sample %)')
  execute function seedcore.held_for_sample();
