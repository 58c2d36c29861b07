-- The organism as a whole: one row. `desired` counts changes of what is wanted, `epoch` changes of the routing table.
create table seedcore.organism (
  id          integer primary key default 1 check (id = 1),
  desired     bigint not null default 0,
  epoch       bigint not null default 0,
  stopped     boolean not null default false,
  host_number bigint not null default 0,           -- of the last host that was planned: names are not used twice
  leader      uuid,
  leads_until timestamptz not null default '-infinity'
) with (fillfactor = 50);
insert into seedcore.organism default values;

-- What an organ ought to be. `file_hash` is that of its part of the organs file when that was last applied; null: the
-- organ did not come from there. Removed ones stay, so that an unchanged file does not bring them back.
alter table seedcore.organs
  add column version   bigint not null default 1,
  add column roster    jsonb not null default '{}',
  add column file_hash text,
  add column removed   boolean not null default false;
-- The releases before knew the file alone.
update seedcore.organs set file_hash = '';

-- Hosts that ought to be there, as the leader last saw them. A host is written here before it is made.
create table seedcore.host_plans (
  name           text primary key,
  organ          text not null,
  fingerprint    text not null,                    -- of code, skills, resources and limits that it was made with
  alive          boolean not null,
  reason         text,                             -- why it is not alive
  node           text,
  drain_reason   text,
  draining_since timestamptz
) with (fillfactor = 50);

create table seedcore.evolutions (
  id            uuid primary key,
  request       jsonb not null,
  before        jsonb not null,                    -- organs as they were; null: there was none
  after         jsonb not null,                    -- the organs' versions that it made
  agents        text[] not null,                   -- those whose energy is measured after it
  desired       bigint not null,                  -- of the organism, when this had been done
  energy_before jsonb not null,
  energy_after  jsonb,
  created_at    timestamptz not null default now(),
  undone_at     timestamptz
);
create index evolutions_created on seedcore.evolutions (created_at desc);
create index evolutions_unmeasured on seedcore.evolutions (created_at) where energy_after is null;
