-- Long-term memory: texts, and what waits to be remembered. Their vectors need pgvector: see functions/vectors.sql.

-- The text with its names split into words: PostgreSQL reads `ACME-4711` as `acme` and the number -4711.
create or replace function seedcore.words_of(text text) returns text language sql immutable strict parallel safe as $$
  select translate(text, $c$-_./\:;,=+*#@~|<>()[]{}"'`&!?$%^$c$, repeat(' ', 32))
$$;

-- One text that is remembered. `scope`: `all`, or `agent:ID`, `organ:ID`, `domain:NAME`. `digest`: SHA-256 of the
-- normalised text; the same text of one source in the same scope is one memory, seen once more.
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
  document   tsvector generated always as (to_tsvector('english', seedcore.words_of(text))) stored,
  unique (tenant, scope, source, digest)
);
create index memories_document on seedcore.memories using gin (document);
create index memories_source on seedcore.memories (source, source_id);

-- What waits to be remembered, written by triggers in the transaction that changed the thing. `payload` is what the
-- thing's own tables do not say later. What is taken is being remembered: what changes meanwhile waits in a row of its own.
create table seedcore.memory_intake (
  seq      bigint generated always as identity primary key,
  kind     text not null check (kind in ('plan', 'failure', 'triage', 'fact')),
  ref      text not null,
  payload  jsonb not null default '{}',
  at       timestamptz not null default now(),
  taken_at timestamptz
);
create index memory_intake_waiting on seedcore.memory_intake (kind, ref) where taken_at is null;

-- How far the jobs of memory are; `cursor` says where one goes on.
create table seedcore.memory_jobs (
  name   text primary key,
  cursor text,
  done   jsonb not null default '{}',
  at     timestamptz not null default now()
);

-- Remember a thing later. One that waits already waits once. It never waits for another transaction: two that end at
-- once may both write it. Over 100,000 rows nothing more is taken in until some are remembered; health says so.
create or replace function seedcore.remember_later(the_kind text, the_ref text, what jsonb default '{}') returns void
language plpgsql as $$
begin
  if exists (select 1 from seedcore.memory_intake i where i.kind = the_kind and i.ref = the_ref and i.taken_at is null) then
    return;
  end if;
  if (select coalesce(max(seq) - min(seq), 0) from seedcore.memory_intake) > 100000 then
    return;
  end if;
  insert into seedcore.memory_intake (kind, ref, payload) values (the_kind, the_ref, what);
end $$;

-- A plan ended: its parent waits no more.
create or replace function seedcore.remember_plan() returns trigger language plpgsql as $$
begin
  perform seedcore.remember_later('plan', old.id::text);
  return null;
end $$;
create trigger remember_plan after delete on seedcore.held
  for each row when (old.plan is not null) execute function seedcore.remember_plan();

-- Tasks failed for good: one row for those of a tenant, type and code, however many.
create or replace function seedcore.remember_failures() returns trigger language plpgsql as $$
begin
  if not exists (select 1 from failed) then
    return null;
  end if;
  perform seedcore.remember_later('failure', kinds.ref, kinds.what)
  from (select t.tenant || ' ' || t.type || ' ' || f.error_code as ref,
               jsonb_build_object('tenant', t.tenant, 'type', t.type, 'code', f.error_code, 'domain', min(t.domain),
                                  'task', max(f.id::text), 'message', left(max(f.error_message), 2000)) as what
        from failed f join seedcore.tasks t on t.id = f.id group by t.tenant, t.type, f.error_code) kinds;
  return null;
end $$;
create trigger remember_failures after insert on seedcore.dead referencing new table as failed
  for each statement execute function seedcore.remember_failures();

-- A triage ended, or was decided without an action.
create or replace function seedcore.remember_triage() returns trigger language plpgsql as $$
begin
  perform seedcore.remember_later('triage', new.id::text, jsonb_build_object(
    'stream', new.stream, 'action', new.action, 'status', new.status,
    'reasons', jsonb_build_object('hypotheses', new.record->'reasons'->'hypotheses'),
    'decision', new.record->'decision', 'salience', new.record->'salience'));
  return null;
end $$;
create trigger remember_triage after insert or update of status on seedcore.triages
  for each row when (new.status <> 'acting' and not new.dry_run) execute function seedcore.remember_triage();
