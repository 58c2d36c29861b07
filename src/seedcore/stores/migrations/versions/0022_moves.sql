-- What was tried for work that stopped looking like the past, and whether it helped.
create table seedcore.move_outcomes (
  task_id uuid primary key,
  tenant  text not null,
  stream  text not null,
  move    text not null,
  detail  jsonb not null default '{}',
  helped  boolean,
  steps   integer,
  at      timestamptz not null default now(),
  ended_at timestamptz
);
create index move_outcomes_stream on seedcore.move_outcomes (stream, at desc);
