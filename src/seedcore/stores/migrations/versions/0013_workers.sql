-- Each start of a Coordinator takes the next generation: of two at one moment, the later one counts.
create sequence seedcore.snapshot_generation;

-- The last whole snapshot, for workers that start while no Coordinator answers: one row. `digest` is the SHA-256 of `body`.
create table seedcore.snapshots (
  id         integer primary key default 1 check (id = 1),
  generation bigint not null,
  version    bigint not null,
  format     integer not null,
  digest     bytea not null,
  body       bytea not null,
  at         timestamptz not null default now()
) with (fillfactor = 50);

-- Skills that were running when a process ended: who ends processes again and again runs alone.
create table seedcore.skill_deaths (
  skill   text not null,
  at      timestamptz not null default now(),
  host    text not null,
  task_id uuid not null,
  token   bigint not null,
  primary key (task_id, token)
);
create index skill_deaths_skill on seedcore.skill_deaths (skill, at);

-- Skills that run in a host of their own, one task at a time, until then or until a person releases them.
create table seedcore.quarantined_skills (
  skill  text primary key,
  since  timestamptz not null default now(),
  until  timestamptz not null,
  deaths integer not null,
  reason text not null
);

-- How many workers bootstrap wants: {"default": n, "graph": n, "per_node": n or null}; null: as the settings say.
alter table seedcore.organism add column workers jsonb;
