-- Facts: a subject, a predicate and an object, with a text for people, and when it holds. What an index holds of one is
-- at most a third of a page: the store bounds subject and predicate.
create table seedcore.facts (
  id         uuid primary key default seedcore.new_id(),
  tenant     text not null default 'default',
  subject    text not null,
  predicate  text not null,
  object     text not null,
  text       text not null,
  tags       text[] not null default '{}',
  source     text,
  valid_from timestamptz not null default now(),
  valid_to   timestamptz check (valid_to > valid_from),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  document   tsvector generated always as
             (to_tsvector('english', subject || ' ' || predicate || ' ' || object || ' ' || text)) stored
);
create index facts_document on seedcore.facts using gin (document);
create index facts_tags on seedcore.facts using gin (tags);
create index facts_about on seedcore.facts (tenant, subject, predicate);
create index facts_newest on seedcore.facts (tenant, id desc);

-- Plans that relied on a fact.
create table seedcore.fact_uses (
  fact_id uuid not null references seedcore.facts on delete cascade,
  task_id uuid not null,
  at      timestamptz not null default now(),
  primary key (fact_id, task_id)
);
create index fact_uses_task on seedcore.fact_uses (task_id);
create index fact_uses_at on seedcore.fact_uses (at);

-- A fact was made, changed or removed.
create or replace function seedcore.remember_fact() returns trigger language plpgsql as $$
begin
  perform seedcore.remember_later('fact', coalesce(new.id, old.id)::text);
  return null;
end $$;
create trigger remember_fact after insert or update or delete on seedcore.facts
  for each row execute function seedcore.remember_fact();
