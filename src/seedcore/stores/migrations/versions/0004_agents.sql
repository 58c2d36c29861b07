-- What an agent has learned beside its rates. Release 0002 writes none of these, and leaves them as they are.
alter table seedcore.agents
  add column lifecycle   text not null default 'scout',  -- scout, employed, archived: see organism/lifecycle.py
  add column standing    jsonb,                          -- outcomes, successes, and what peers would have achieved
  add column roles       jsonb,                          -- probability of each role; null when its organ declares none
  add column role_counts jsonb,                          -- what `roles` was learned from
  add column memory      text;                           -- scope in agent_memory; null when it never stored anything

-- Small JSON values that an agent's skills keep for it (`context.memory`).
create table seedcore.agent_memory (
  scope   text not null,
  key     text not null,
  value   jsonb not null,
  bytes   integer not null,
  updated timestamptz not null default now(),
  primary key (scope, key)
);

-- One row a host, as it last told; `ended` is why its process before this one ended itself.
create table seedcore.hosts (
  name       text primary key,
  organ      text not null,
  version    text not null,
  started_at timestamptz not null,
  status     jsonb not null,
  ended      jsonb,
  updated    timestamptz not null default now()
) with (fillfactor = 50);
