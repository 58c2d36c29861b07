-- One row a stream and watch ('work' or 'outcome'). `state` is a valve's own bytes, null while the stream still learns;
-- `recent` is the newest observations (a NumPy array), which the next calibration learns from.
create table seedcore.valves (
  stream  text not null,
  watch   text not null,
  state   bytea,
  recent  bytea not null,
  facts   jsonb not null,
  updated timestamptz not null default now(),
  primary key (stream, watch)
);
