-- Changes that wait for the graph, written in the transaction that changed the thing.
create table seedcore.graph_changes (
  seq     bigint generated always as identity primary key,
  kind    text not null,
  key     text not null,
  payload jsonb not null,
  at      timestamptz not null default now()
);

-- How far the graph is; `started_at`: of its first use.
create table seedcore.graph_state (
  one        boolean primary key default true check (one),
  started_at timestamptz,
  synced_seq bigint not null default 0,
  synced_at  timestamptz
);
insert into seedcore.graph_state default values;
