-- Plans: what becomes of them when a step fails, what they may spend, what they learn; approvals that expire.

-- One row a task that was planned, from its first plan to its retention. `since`: when the first plan of this run was
-- stored; `replanning`: the task is to be planned anew, without the skills in `without`.
create table seedcore.plans (
  id         uuid primary key,
  since      timestamptz not null default now(),
  policy     jsonb not null default '{}',          -- {skill, or * for the others: fail, skip or replan}
  budget     jsonb not null default '{}',          -- {steps, time_s, tokens, money}
  until      timestamptz,                          -- when its time is over
  replans    smallint not null default 0,
  replanning boolean not null default false,
  without    text[] not null default '{}',
  signature  text,                                 -- of goal, inputs' types and skills: what a recipe is for
  recipe     boolean not null default false,       -- it runs a recipe
  learning   jsonb not null default '{}'           -- {after, least}: when a plan becomes a recipe, and stops being one
);
create index plans_since on seedcore.plans (since);

-- What attempts said that they spent. Only those that said it stand here; the rows of a plan's steps are its spending.
create table seedcore.usage (
  id     uuid not null,
  token  bigint not null,
  tokens double precision not null default 0 check (tokens >= 0),
  money  double precision not null default 0 check (money >= 0),
  at     timestamptz not null default now(),
  primary key (id, token)
);
create index usage_at on seedcore.usage (at);

-- How plans ended, append-only, so that two that end at once never wait for each other. `shape`: hash of the plan.
create table seedcore.plan_ends (
  signature text not null,
  shape     text not null,
  recipe    boolean not null,
  ok        boolean not null,
  at        timestamptz not null default now()
);
create index plan_ends_signature on seedcore.plan_ends (signature, recipe, at desc);
create index plan_ends_at on seedcore.plan_ends (at);

-- Plans that are run without asking for one.
create table seedcore.recipes (
  signature    text primary key,
  goal         jsonb not null,
  inputs       jsonb not null,                     -- {name: type in words}
  plan         jsonb not null,
  made_at      timestamptz not null default now(),
  withdrawn_at timestamptz,
  reason       text
);

-- A task that waits for a person: until when, and what then becomes of it.
alter table seedcore.held
  add column expires_at timestamptz,
  add column on_expiry  text check (on_expiry in ('reject', 'release'));
create index held_expires on seedcore.held (expires_at) where expires_at is not null;

-- What a task's steps, theirs, and the task itself said that they spent since a time.
create function seedcore.spent(root uuid, begun timestamptz, out tokens double precision, out money double precision)
language sql stable as $$
  with recursive family as (
    select root as id
    union all select t.id from seedcore.tasks t join family f on t.parent_id = f.id where t.created_at >= begun)
  select coalesce(sum(u.tokens), 0), coalesce(sum(u.money), 0)
  from family f join seedcore.usage u on u.id = f.id where u.at >= begun
$$;

-- The share of successes, shrunk towards 0.9 with the weight of five ends: one failure proves little.
create function seedcore.shrunken(good bigint, ends bigint) returns double precision language sql immutable as $$
  select (good + 4.5) / (ends + 5.0)
$$;

-- A plan ended: count it. Enough successes of one plan make it a recipe, a recipe that fails too often is withdrawn. Of
-- two that end at once one looks, and nobody waits.
create function seedcore.plan_ended(task uuid, the_plan jsonb, good boolean) returns void language plpgsql as $$
declare
  own    seedcore.plans%rowtype;
  known  seedcore.recipes%rowtype;
  hash   text := md5((the_plan->'steps')::text || (the_plan->'output')::text);
  ends   bigint;
  wins   bigint;
begin
  select * into own from seedcore.plans p where p.id = task;
  if own.signature is null or hash is null then
    return;
  end if;
  insert into seedcore.plan_ends (signature, shape, recipe, ok) values (own.signature, hash, own.recipe, good);
  if good = own.recipe or not pg_try_advisory_xact_lock(24303, hashtext(own.signature)) then
    return;
  end if;
  select * into known from seedcore.recipes r where r.signature = own.signature;
  if good and (known.signature is null or known.withdrawn_at is not null) then
    select count(*), count(*) filter (where e.ok) into ends, wins from (
      select l.ok from seedcore.plan_ends l
       where l.signature = own.signature and not l.recipe and l.shape = hash
         and l.at > coalesce(known.withdrawn_at, '-infinity')
       order by l.at desc limit 50) e;
    if wins >= (own.learning->>'after')::bigint
       and seedcore.shrunken(wins, ends) >= (own.learning->>'least')::double precision then
      insert into seedcore.recipes as r (signature, goal, inputs, plan)
      values (own.signature, own.learning->'goal', own.learning->'inputs', the_plan)
      on conflict (signature) do update set plan = excluded.plan, made_at = now(), withdrawn_at = null, reason = null;
    end if;
  elsif not good and known.signature is not null and known.withdrawn_at is null then
    select count(*), count(*) filter (where e.ok) into ends, wins from (
      select l.ok from seedcore.plan_ends l
       where l.signature = own.signature and l.recipe and l.at >= known.made_at order by l.at desc limit 50) e;
    if seedcore.shrunken(wins, ends) < (own.learning->>'least')::double precision then
      update seedcore.recipes r set withdrawn_at = now(),
             reason = format('%s of its last %s runs completed: the shrunken rate is %s, less than %s', wins, ends,
                             round(seedcore.shrunken(wins, ends)::numeric, 3), own.learning->>'least')
       where r.signature = own.signature;
    end if;
  end if;
end $$;

-- Plan a task anew, without the skill that failed: its steps that have not ended are cancelled, those that completed
-- stay, and it goes back to the slow lane. The attempt that planned it does not count.
create function seedcore.plan_again(task uuid, the_plan jsonb, tried smallint, skill text, why text) returns void
language plpgsql as $$
declare
  row_of seedcore.tasks%rowtype;
begin
  perform seedcore.cancel_below(task, 'planned_anew', why);
  delete from seedcore.held where id = task;
  perform seedcore.plan_ended(task, the_plan, false);
  update seedcore.plans set replanning = true, replans = replans + 1, without = array_append(without, skill) where id = task;
  select * into row_of from seedcore.tasks t where t.id = task;
  insert into seedcore.ready (id, queue, slow, rank, attempts)
  values (task, row_of.queue, true, -row_of.priority, greatest(tried - 1, 0));
  insert into seedcore.events (task_id, event, data)
  values (task, 'retried', jsonb_build_object('attempt', tried, 'code', 'step_failed', 'message', why, 'by', 'on_failure',
                                              'without', skill));
  perform seedcore.wake(row_of.queue, true);
end $$;

-- After tasks ended (or said what they spent): end the plans that are over their budget, do what a failed step's policy
-- says, release the steps whose needs completed, end the parents whose steps ended. Called in the same transaction as
-- the write that ended them, and only for tasks that have a parent. A parent without a row in `plans` was planned by the
-- release before: a step that fails ends it.
create or replace function seedcore.advance_plans(over uuid[]) returns void language plpgsql as $$
declare
  parent   record;
  made     seedcore.plans%rowtype;
  broken   record;
  used     record;
  settled  uuid[] := '{}';
  spends   boolean;
  the_tick bigint;
  moved    integer;
  wanted   bigint;
  given    bigint;
  outputs  jsonb;
  code     text;
  why      text;
begin
  spends := exists (select 1 from seedcore.usage u where u.id = any(over))
         or exists (select 1 from seedcore.plans p where p.id = any(over));
  for parent in
    -- Steps older than the plan are those of an earlier plan of a goal that was run again.
    -- The row lock makes two endings of one plan take turns; the order keeps two batches from a deadlock.
    select h.id, h.plan, h.attempts, h.since, h.decision from seedcore.held h
     where h.plan is not null and h.id in (select t.parent_id from seedcore.tasks t where t.id = any(over))
     order by h.id for update
  loop
    select * into made from seedcore.plans p where p.id = parent.id;
    code := null;
    why := null;
    if spends and made.id is not null then
      select * into used from seedcore.spent(parent.id, made.since);
      if used.tokens > (made.budget->>'tokens')::double precision
         or used.money > (made.budget->>'money')::double precision then
        code := 'budget_exceeded';
        why := format('it spent %s tokens and %s of money; its budget is %s and %s', used.tokens, used.money,
                      made.budget->>'tokens', made.budget->>'money');
      end if;
    end if;
    -- The worst of the steps that did not complete. One whose need was skipped follows from another.
    select t.step, t.type, f.status, f.error_message,
           coalesce(made.policy->>t.type, made.policy->>'*', 'fail') as policy into broken
      from seedcore.tasks t join seedcore.ended f on f.id = t.id
     where t.parent_id = parent.id and t.created_at >= parent.since and f.status <> 'completed'
       and not (f.status = 'cancelled' and f.error_code = 'need_skipped')
     order by case coalesce(made.policy->>t.type, made.policy->>'*', 'fail') when 'skip' then 2 when 'replan' then 1 else 0 end,
              f.finished_at limit 1;
    if found and code is null then
      why := 'step ' || broken.step || ' ' || broken.status || coalesce(': ' || broken.error_message, '');
      if broken.policy = 'replan' and made.replans = 0 then
        perform seedcore.plan_again(parent.id, parent.plan, parent.attempts, broken.type, why);
        continue;
      elsif broken.policy = 'skip' then
        insert into seedcore.events (task_id, event, data)
        select parent.id, 'waiting', jsonb_build_object('skipped', t.step, 'skill', t.type, 'code', f.error_code,
                                                        'message', f.error_message)
          from seedcore.tasks t join seedcore.ended f on f.id = t.id
         where t.id = any(over) and t.parent_id = parent.id and t.created_at >= parent.since and f.status <> 'completed';
        loop
          with lost as (
            delete from seedcore.held h using seedcore.tasks t
             where t.parent_id = parent.id and h.id = t.id and h.status = 'waiting' and h.plan is null
               and exists (select 1 from unnest(h.needs) n(id) join seedcore.ended f on f.id = n.id
                            where f.status <> 'completed')
            returning h.id, h.attempts)
          , said as (insert into seedcore.events (event, task_ids)
                     select 'cancelled', array_agg(id) from lost having count(*) > 0 returning tick)
          , kept as (
            insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
            select l.id, s.tick, 'cancelled', l.attempts, 'need_skipped', 'it takes what a skipped step did not give'
              from lost l, said s)
          select count(*) into moved from lost;
          exit when moved = 0;
        end loop;
      else
        code := 'step_failed';
      end if;
    end if;
    if code is null then
      with free as (
        delete from seedcore.held h using seedcore.tasks t
         where t.parent_id = parent.id and h.id = t.id and h.status = 'waiting' and h.plan is null
           and not exists (select 1 from unnest(h.needs) n(id) left join seedcore.ended f on f.id = n.id
                            where f.status is distinct from 'completed')
        returning h.id, h.attempts, t.queue, t.slow, t.priority)
      , go as (insert into seedcore.ready (id, queue, slow, rank, attempts)
                select id, queue, slow, -priority, attempts from free returning queue, slow)
      select count(seedcore.wake(g.queue, g.slow)) into moved from (select distinct queue, slow from go) g;
      continue when exists (select 1 from seedcore.tasks t left join seedcore.ended f on f.id = t.id
                             where t.parent_id = parent.id and t.created_at >= parent.since and f.id is null);
      -- What a step that did not complete would have given is absent.
      select count(*), count(*) filter (where x.there), jsonb_object_agg(o.key, x.value) filter (where x.there)
        into wanted, given, outputs
        from jsonb_each(parent.plan->'output') o
        left join lateral (
          select (case p.type when 'goal' then p.params->'inputs' else p.params end)->(o.value->>'field') as value, true as there
            from seedcore.tasks p where p.id = parent.id and o.value->>'$from' = 'inputs'
          union all
          select f.result->(o.value->>'field'), f.id is not null
            from (select t.id from seedcore.tasks t
                   where t.parent_id = parent.id and t.created_at >= coalesce(made.since, parent.since)
                     and t.step = o.value->>'$from' and o.value->>'$from' <> 'inputs') s
            left join seedcore.finished f on f.id = s.id and f.status = 'completed'
        ) x on true;
      if wanted > 0 and given = 0 then
        code := 'step_failed';
        why := 'no output is left: ' || coalesce(why, 'no step gives one');
      end if;
    end if;
    delete from seedcore.held where id = parent.id;
    settled := settled || parent.id;
    perform seedcore.plan_ended(parent.id, parent.plan, code is null);
    if code is null then
      insert into seedcore.events (event, task_ids) values ('completed', array[parent.id]) returning tick into the_tick;
      insert into seedcore.finished (id, tick, status, attempts, started_at, result, decision)
      values (parent.id, the_tick, 'completed', parent.attempts, coalesce(made.since, parent.since), outputs, parent.decision);
    else
      perform seedcore.cancel_below(parent.id, case code when 'step_failed' then 'plan_failed' else code end, why);
      insert into seedcore.events (event, task_ids) values ('failed', array[parent.id]) returning tick into the_tick;
      insert into seedcore.dead (id, tick, attempts, started_at, error_code, error_message, errors, decision)
      values (parent.id, the_tick, parent.attempts, coalesce(made.since, parent.since), code, why,
              seedcore.errors_of(parent.id, parent.attempts, code, why), parent.decision);
    end if;
  end loop;
  -- A plan that ended may have held a key's place, or have been a step of another plan.
  if cardinality(settled) > 0 then
    perform seedcore.settle(settled);
  end if;
end $$;
