-- Streams whose new tasks wait for a person until then. `triage`: what held it.
create table seedcore.holds (
  stream text primary key,
  since  timestamptz not null default now(),
  until  timestamptz not null,
  reason text not null,
  wait_s double precision,                         -- how long its tasks wait; null: as long as the setting says
  triage uuid
);

-- One row a triage: what came in and what was found, reasoned and decided stand in `record`, what the action did in
-- `result`. A row that stays `acting` was interrupted: nobody knows whether the action was done.
create table seedcore.triages (
  id       uuid primary key,
  at       timestamptz not null default now(),
  key      text unique,
  hash     text not null,                          -- of the request, so that a key is not used for another one
  stream   text,
  dry_run  boolean not null,
  action   text not null,
  status   text not null check (status in ('decided', 'acting', 'done', 'failed')),
  record   jsonb not null,
  result   jsonb,
  ended_at timestamptz
);
create index triages_stream on seedcore.triages (stream, id);
create index triages_at on seedcore.triages (at);
