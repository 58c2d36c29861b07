-- What calls of language models may spend and have spent. A call reserves what it may cost before it is sent, and is
-- settled when it has ended: a reservation whose process died counts as spent.
create table seedcore.llm_budgets (
  kind     text not null check (kind in ('plan', 'key', 'tenant', 'day')),
  name     text not null,
  day      date not null default current_date,
  tokens   double precision not null default 0,
  money    double precision not null default 0,
  calls    bigint not null default 0,
  primary key (kind, name, day)
);
