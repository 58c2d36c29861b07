-- What calls of language models may spend and have spent. A call reserves what it may cost before it is sent, and is
-- settled when it has ended: a reservation whose process died counts as spent. The row of a plan has the day of the
-- epoch, as a plan may last longer than a day. Every call writes the rows in place.
create table seedcore.llm_budgets (
  kind       text not null check (kind in ('plan', 'key', 'tenant', 'day')),
  name       text not null,
  day        date not null,
  tokens     double precision not null default 0,
  money      double precision not null default 0,
  calls      bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (kind, name, day)
) with (fillfactor = 50);

-- Adds `tokens` and `money` to every row of a call, or to none: returns the kind of the first row that would be over its
-- limit, else null. Limits that are null bound nothing. Rows are locked in one order, so that calls never wait in a circle.
create or replace function seedcore.llm_reserve(
  kinds text[], names text[], days date[], token_limits double precision[], money_limits double precision[],
  more_tokens double precision, more_money double precision)
returns text language plpgsql as $$
declare
  over      text;
  first_row boolean;
begin
  with made as (
    insert into seedcore.llm_budgets (kind, name, day)
    select k, n, d from unnest(kinds, names, days) as c(k, n, d) order by 1, 2, 3
    on conflict do nothing returning kind)
  select bool_or(kind = 'day') into first_row from made;
  if first_row then
    -- Once a day, what is over a month old is forgotten.
    delete from seedcore.llm_budgets where (kind, name, day) in (
      select kind, name, day from seedcore.llm_budgets where updated_at < now() - interval '35 days'
      for update skip locked);
  end if;
  perform 1 from seedcore.llm_budgets b
  where (b.kind, b.name, b.day) in (select * from unnest(kinds, names, days)) order by kind, name, day for update;
  select b.kind into over
  from seedcore.llm_budgets b
  join unnest(kinds, names, days, token_limits, money_limits) as c(k, n, d, t, m)
    on (b.kind, b.name, b.day) = (c.k, c.n, c.d)
  where b.tokens + more_tokens > c.t or b.money + more_money > c.m
  order by array_position(kinds, b.kind) limit 1;
  if over is not null then
    return over;
  end if;
  update seedcore.llm_budgets b
  set tokens = b.tokens + more_tokens, money = b.money + more_money, calls = b.calls + 1, updated_at = now()
  where (b.kind, b.name, b.day) in (select * from unnest(kinds, names, days));
  return null;
end
$$;

-- Corrects the rows of a call by what it used more or less than was reserved.
create or replace function seedcore.llm_settle(
  kinds text[], names text[], days date[], more_tokens double precision, more_money double precision)
returns void language plpgsql as $$
begin
  perform 1 from seedcore.llm_budgets b
  where (b.kind, b.name, b.day) in (select * from unnest(kinds, names, days)) order by kind, name, day for update;
  update seedcore.llm_budgets b
  set tokens = greatest(0, b.tokens + more_tokens), money = greatest(0, b.money + more_money), updated_at = now()
  where (b.kind, b.name, b.day) in (select * from unnest(kinds, names, days));
end
$$;

-- The plan that a task is a step of, and what that plan may spend: for budgets of language models, which are held before
-- a step has ended. No row: the task is no step.
create or replace function seedcore.plan_of(task_id uuid, out plan uuid, out tokens double precision, out money double precision)
returns setof record language sql stable as $$
  select t.parent_id, (p.budget->>'tokens')::double precision, (p.budget->>'money')::double precision
  from seedcore.tasks t left join seedcore.plans p on p.id = t.parent_id
  where t.id = task_id and t.parent_id is not null
$$;

-- What outcomes said that they spent stands in the ledger beside what they cost the fleet.
alter table seedcore.energy_ledger
  add column tokens double precision not null default 0,
  add column money double precision not null default 0;
