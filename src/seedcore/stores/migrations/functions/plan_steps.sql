-- Advances plans: releases steps whose needs completed, applies the policy of a failed step, ends parents.

-- What a task's steps, theirs, and the task itself said that they spent since a time.
create or replace function seedcore.spent(root uuid, begun timestamptz, out tokens double precision, out money double precision)
language sql stable as $$
  with recursive family as (
    select root as id
    union all select t.id from seedcore.tasks t join family f on t.parent_id = f.id where t.created_at >= begun)
  select coalesce(sum(u.tokens), 0), coalesce(sum(u.money), 0)
  from family f join seedcore.usage u on u.id = f.id where u.at >= begun
$$;

-- End everything below a task as cancelled: its steps, and theirs. It looks again until nothing of them lives, for a step
-- that another transaction moves meanwhile shows in its next place only afterwards.
create or replace function seedcore.cancel_below(root uuid, code text, why text) returns void language plpgsql as $$
declare
  family uuid[];
begin
  with recursive below as (
    select t.id from seedcore.tasks t where t.parent_id = root
    union all select t.id from seedcore.tasks t join below b on t.parent_id = b.id)
  select coalesce(array_agg(id), '{}') into family from below;
  loop
    with a as (delete from seedcore.held h where h.id = any(family) returning h.id, h.attempts),
         b as (delete from seedcore.ready r where r.id = any(family) returning r.id, r.attempts),
         c as (delete from seedcore.deferred d where d.id = any(family) returning d.id, d.attempts),
         d as (delete from seedcore.gated g where g.id = any(family) returning g.id, g.attempts),
         e as (delete from seedcore.leases l where l.id = any(family) returning l.id, l.attempts),
         told as (select count(pg_notify('seedcore_cancel', e.id::text)) from e),
         gone as (select * from a union all select * from b union all select * from c union all select * from d
                  union all select * from e),
         ev as (insert into seedcore.events (event, task_ids)
                select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
    insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
    select gone.id, ev.tick, 'cancelled', gone.attempts, code, why from gone, ev, told;
    exit when not exists (
      select 1 from seedcore.held where id = any(family) union all
      select 1 from seedcore.ready where id = any(family) union all
      select 1 from seedcore.deferred where id = any(family) union all
      select 1 from seedcore.gated where id = any(family) union all
      select 1 from seedcore.leases where id = any(family));
  end loop;
end $$;

-- Plan a task again, without the skill that failed: its steps that have not ended are cancelled, those that completed
-- stay, and it goes back to the slow lane. The attempt that planned it does not count.
create or replace function seedcore.plan_again(task uuid, the_plan jsonb, tried smallint, skill text, why text) returns void
language plpgsql as $$
declare
  row_of seedcore.tasks%rowtype;
begin
  perform seedcore.cancel_below(task, 'planned_anew', why);
  delete from seedcore.held where id = task;
  perform seedcore.plan_ended(task, the_plan, false);
  update seedcore.plans set replanning = true, replans = replans + 1, without = array_append(without, skill) where id = task;
  select * into row_of from seedcore.tasks t where t.id = task;
  insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
  values (task, row_of.queue, true, -row_of.priority, greatest(tried - 1, 0), row_of.tenant);
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
      -- Escalated work has several moves to try; other plans are made again once.
      if broken.policy = 'replan' and (made.replans = 0 or made.replans < 3 and exists (
           select 1 from seedcore.move_outcomes m where m.task_id = parent.id)) then
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
        returning h.id, h.attempts, t.queue, t.slow, t.priority, t.tenant)
      , go as (insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
                select id, queue, slow, -priority, attempts, tenant from free returning queue, slow)
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

-- What ends bring about: plans go on, keys let others through. Called in the transaction that ended these tasks, and
-- only for tasks with a parent or a key.
create or replace function seedcore.settle(over uuid[]) returns void language plpgsql as $$
begin
  if exists (select 1 from seedcore.tasks t where t.id = any(over) and t.parent_id is not null) then
    perform seedcore.advance_plans(over);
  end if;
  perform seedcore.admit(array(
    select t.limit_key from seedcore.tasks t where t.id = any(over) and t.limit_key is not null
    union select l->>'key' from seedcore.tasks t cross join lateral jsonb_array_elements(t.limits) l where t.id = any(over)));
end $$;

-- The plan that a task is a step of, and what that plan may spend: for budgets of language models, which are held before
-- a step has ended. No row: the task is no step.
create or replace function seedcore.plan_of(task_id uuid, out plan uuid, out tokens double precision, out money double precision)
returns setof record language sql stable as $$
  select t.parent_id, (p.budget->>'tokens')::double precision, (p.budget->>'money')::double precision
  from seedcore.tasks t left join seedcore.plans p on p.id = t.parent_id
  where t.id = task_id and t.parent_id is not null
$$;
