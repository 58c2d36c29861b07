-- Long-term memory: texts, and what waits to be remembered. Their vectors need pgvector: see functions/vectors.sql.

-- One text that is remembered. `scope`: `all`, or `agent:ID`, `organ:ID`, `domain:NAME`. `digest`: SHA-256 of the
-- normalised text; the same text in the same scope is one memory, seen once more.
create table seedcore.memories (
  id         uuid primary key default seedcore.new_id(),
  tenant     text not null default 'default',
  scope      text not null default 'all',
  source     text not null,
  source_id  text,
  text       text not null,
  tags       text[] not null default '{}',
  metadata   jsonb not null default '{}',
  salience   real not null default 0.5 check (salience between 0 and 1),
  digest     bytea not null,
  seen       integer not null default 1,
  uses       integer not null default 0,
  created_at timestamptz not null default now(),
  used_at    timestamptz not null default now(),
  document   tsvector generated always as (to_tsvector('english', text)) stored,
  unique (tenant, scope, digest)
);
create index memories_document on seedcore.memories using gin (document);
create index memories_source on seedcore.memories (source, source_id);

-- What waits to be remembered: written in the transaction that changed the thing, by triggers.
create table seedcore.memory_intake (
  seq  bigint generated always as identity primary key,
  kind text not null,
  ref  text not null,
  at   timestamptz not null default now(),
  unique (kind, ref)
);
