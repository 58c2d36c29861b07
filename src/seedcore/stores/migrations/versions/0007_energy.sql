-- Append-only: sums over the outcomes of one scope (`organ/type`) that one Coordinator heard of in some seconds. Deltas are
-- seconds²; `expected_*` is what the decisions said, `realised_*` the same formula with what the tasks took.
create table seedcore.energy_ledger (
  id                bigint generated always as identity primary key,
  at                timestamptz not null default now(),
  scope             text not null,
  router            text not null,
  v                 double precision not null,
  outcomes          bigint not null,
  expected_s        double precision not null,
  realised_s        double precision not null,
  expected_failures double precision not null,
  failures          bigint not null,
  expected_delta    double precision not null,
  realised_delta    double precision not null,
  realised_squares  double precision not null,     -- of single outcomes, seconds⁴
  squared_error     double precision not null      -- the same
);
create index energy_ledger_scope on seedcore.energy_ledger (scope, id);
create index energy_ledger_at on seedcore.energy_ledger (at);

-- Append-only: the last row is in force; without one, the setting is.
create table seedcore.energy_weights (
  id       bigint generated always as identity primary key,
  at       timestamptz not null default now(),
  v        double precision not null check (v >= 0),
  before   double precision not null,
  reason   text not null,
  evidence jsonb not null,
  undoes   bigint references seedcore.energy_weights (id)
);
