-- Makes a plan a recipe when it completed often enough, and withdraws a recipe that fails too often.

-- The share of successes, shrunk towards 0.9 with the weight of five ends: one failure proves little.
create or replace function seedcore.shrunken(good bigint, ends bigint) returns double precision language sql immutable as $$
  select (good + 4.5) / (ends + 5.0)
$$;

-- A plan ended: count it. Enough successes of one plan make it a recipe, a recipe that fails too often is withdrawn. Of
-- two that end at once one looks, and the other does not wait.
create or replace function seedcore.plan_ended(task uuid, the_plan jsonb, good boolean) returns void language plpgsql as $$
declare
  own    seedcore.plans%rowtype;
  known  seedcore.recipes%rowtype;
  hash   text := md5((the_plan->'steps')::text || (the_plan->'output')::text);
  ends   bigint;
  wins   bigint;
begin
  perform seedcore.move_ended(task, good);
  if to_regclass('seedcore.graph_changes') is not null then
    perform seedcore.graph_plan_ended(task, good);
  end if;
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
