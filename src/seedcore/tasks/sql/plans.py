"""Store a plan and its steps, bind params to earlier results, read plans, recipes, and moves for escalated work.

Steps are released, and parents end, in the SQL function `advance_plans` (`stores/migrations/functions/plan_steps.sql`).
"""

PLAN_PARENT = """
with gone as (
  delete from seedcore.leases l where l.id = $1 and l.token = $2 returning l.id, l.attempts)
, kept as (
  insert into seedcore.held (id, status, attempts, decision, plan)
  select id, 'waiting', attempts, $3::jsonb, $4::jsonb from gone)
, logged as (insert into seedcore.events (task_id, event, data)
           select id, 'waiting', jsonb_build_object('steps', $5::int) from gone)
select id from gone
"""

# Once a lease: the token is its own.
PLANNING_SPENT = "insert into seedcore.usage (id, token, tokens, money) values ($1, $2, $3, $4) on conflict do nothing"

# A step has the attempts and the queue that its skill declares (primary key skills), else those of its task; tenant and
# trace are the task's. It is not run after its plan's deadline.
PLAN_STEPS = """
with parent as (select * from seedcore.tasks where id = $6)
, input as materialized (
  select i.*, coalesce(k.queue, p.queue) as queue, coalesce(k.max_attempts, p.max_attempts) as max_attempts
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) as i(id, step, type, params, bindings)
  cross join parent p left join seedcore.skills k on k.name = i.type)
, stored as (
  insert into seedcore.tasks
    (id, type, params, bindings, queue, domain, priority, max_attempts, deadline, parent_id, step, tenant,
     traceparent)
  select i.id, i.type, i.params::jsonb, i.bindings::jsonb, i.queue, p.domain, p.priority, i.max_attempts, p.deadline,
         p.id, i.step, p.tenant, p.traceparent
  from input i, parent p)
, now_ready as (
  insert into seedcore.ready (id, queue, rank, tenant)
  select i.id, i.queue, -p.priority, p.tenant from input i, parent p where not (i.id = any($7::uuid[])))
, logged as (
  insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from input)
select count(seedcore.wake(q.queue, false)), seedcore.tell() from (select distinct queue from input) q
"""

# Before the steps are stored. A plan that is made again keeps the time and what was spent since its first one. The task's
# deadline is the nearer of its own and the end of its budget's time.
PLAN_TERMS = """
with kept as (
  insert into seedcore.plans as p (id, policy, budget, signature, recipe, learning, until)
  values ($1, $2::jsonb, $3::jsonb, $4, $5, $6::jsonb, now() + make_interval(secs => $7))
  on conflict (id) do update set
    policy = excluded.policy, budget = excluded.budget, signature = excluded.signature, recipe = excluded.recipe,
    learning = excluded.learning, replanning = false,
    since = case when p.replanning then p.since else excluded.since end,
    until = case when p.replanning then p.until else excluded.until end,
    replans = case when p.replanning then p.replans else 0 end,
    without = case when p.replanning then p.without else '{}' end
  returning id, until)
, timed as (
  update seedcore.tasks t set deadline = k.until from kept k
  where t.id = k.id and k.until is not null and (t.deadline is null or t.deadline > k.until) returning t.id, t.deadline)
insert into seedcore.deadlines as d (id, at)
select id, deadline from timed where pg_notify('seedcore_later', extract(epoch from deadline - now())::text) is not null
on conflict (id) do update set at = least(d.at, excluded.at)
"""

# What a plan is made from: the earlier plan when the task is planned again, and the recipe. Primary keys, and tasks_parent.
PLANNED_BEFORE = """
select p.replans, p.without, coalesce(s.steps, 0) as steps, s.done::text as done,
       (select r.plan::text from seedcore.recipes r where r.signature = $2 and r.withdrawn_at is null) as recipe
from (select $1::uuid as id) i
left join seedcore.plans p on p.id = i.id and p.replanning
left join lateral (
  select count(*) as steps, jsonb_agg(jsonb_build_array(t.step, t.type, t.id) order by t.id) filter (where f.id is not null) as done
  from seedcore.tasks t left join seedcore.finished f on f.id = t.id and f.status = 'completed'
  where t.parent_id = p.id and t.created_at >= p.since) s on true
"""

PLAN_WAIT = "insert into seedcore.held (id, status, needs) values ($1, 'waiting', $2)"

# Params with the outputs of earlier steps that they are bound to, in order; primary key finished (id).
BIND = """
select (i.params::jsonb || g.given)::text as params, g.missing
from unnest($1::text[], $2::text[]) with ordinality as i(params, bindings, n)
cross join lateral (
  select coalesce(jsonb_object_agg(b.key, r.value) filter (where r.value is not null), '{}') as given,
         string_agg(quote_literal(b.value->>'field'), ', ') filter (where r.value is null) as missing
  from jsonb_each(i.bindings::jsonb) b
  left join lateral (
    select f.result -> (b.value->>'field') as value from seedcore.finished f
    where f.id = (b.value->>'task')::uuid and f.status = 'completed' offset 0) r on true) g
order by i.n
"""

# Primary keys, and index tasks_parent.
PLAN_OF = """
select p.policy::text as policy, p.budget::text as budget, p.replans, p.without, p.recipe, p.until, u.tokens, u.money,
       (select count(*) from seedcore.tasks t where t.parent_id = p.id and t.created_at >= p.since) as steps,
       extract(epoch from coalesce(e.finished_at, now()) - p.since)::float8 as time_s
from seedcore.plans p left join seedcore.ended e on e.id = p.id cross join lateral seedcore.spent(p.id, p.since) u
where p.id = $1
"""

# Indexes plan_ends_signature; counted up to 10,000 a recipe.
RECIPES = """
select r.signature, r.goal::text as goal, r.inputs::text as inputs, r.plan::text as plan, r.made_at, r.withdrawn_at,
       r.reason, e.runs, e.completed, case when e.runs > 0 then seedcore.shrunken(e.completed, e.runs) end as success
from seedcore.recipes r
cross join lateral (
  select count(*) as runs, count(*) filter (where l.ok) as completed from (
    select ok from seedcore.plan_ends p where p.signature = r.signature and p.recipe and p.at >= r.made_at
    order by p.at desc limit 10000) l) e
order by r.made_at desc limit $1
"""

# Recipes are few.
RECIPES_IN_FORCE = """
select goal #>> '{}' as goal, bool_or(jsonb_array_length(plan -> 'steps') > 1) as several
from seedcore.recipes where withdrawn_at is null
group by 1 order by max(made_at) desc limit $1
"""

# Before the plan is stored, in the same transaction; the task has as many rows as plans.
NOTE_MOVE = """
insert into seedcore.move_outcomes (task_id, n, tenant, stream, type, move, detail)
select $1, coalesce((select max(n) + 1 from seedcore.move_outcomes where task_id = $1), 0), $2, $3, $4, $5, $6::jsonb
"""

# Null: it has a place.
JOIN_SAMPLE = "select seedcore.join_sample($1, $2, $3, $4)"

SAMPLE_ID = "select id from seedcore.stream_samples where stream = $1"

# Primary key.
SAMPLE_OF = """
select case when status = 'open' and opened_at < now() - make_interval(secs => $2) then 'over' else status end as status,
       extract(epoch from now() - coalesce(ended_at, opened_at))::float8 as age_s, size, good, bad,
       id
from seedcore.stream_samples where stream = $1 and status <> 'new'
"""

# Index move_outcomes_stream: the newest plans of the stream.
MOVE_ENDS = """
select move, count(*) filter (where helped) as helped, count(*) as ends, avg(steps)::float8 as steps,
       avg(seconds)::float8 as seconds
from (select move, helped, steps, seconds from seedcore.move_outcomes
      where stream = $1 and ended_at is not null order by ended_at desc limit $2) o
group by move
"""

# Primary key.
TRIED = "select move from seedcore.move_outcomes where task_id = $1 order by n"

# Newest first by id, which is in the order of time: primary keys of finished, dead and tasks.
DIRECT_ENDS = """
select e.ok, e.code, t.parent_id is not null or e.rule = $2 as changed from (
  select * from (select id, true as ok, null as code, decision->>'rule' as rule from seedcore.finished
                 where status = 'completed' and decision->>'route' = 'fast' order by id desc limit $3) f
  union all
  select * from (select id, false, error_code, decision->>'rule' from seedcore.dead
                 where decision->>'route' = 'fast' and error_code <> all($5::text[]) order by id desc limit $3) d
  order by id desc limit $3) e
join seedcore.tasks t on t.id = e.id
where (case when t.domain is null then t.type else t.domain || '/' || t.type end) = $1
order by e.id desc limit $4
"""

# Primary key of tasks; counted among some of those that are ready.
WAITING = """
select count(*) from (select id from seedcore.ready limit $2) r join seedcore.tasks t on t.id = r.id
where (case when t.domain is null then t.type else t.domain || '/' || t.type end) = $1
"""

# Index move_outcomes_fresh: the oldest ends that memory does not know of.
FRESH = """
select task_id, n from seedcore.move_outcomes where ended_at is not null and not remembered order by ended_at limit $1
"""

# Primary key, then index move_outcomes_stream: what was learnt of each incident and move that these ends are of.
SETTLED = """
with kinds as (
  select distinct o.tenant, o.stream, o.type, o.move, o.detail->>'incident' as incident
  from unnest($1::uuid[], $2::smallint[]) f(task_id, n) join seedcore.move_outcomes o on o.task_id = f.task_id and o.n = f.n
  where o.detail ? 'incident')
select k.tenant, k.stream, k.type, k.move, k.incident, md5(k.incident) as incident_id, a.helped, a.ends, a.steps,
       coalesce(a.good, 0) as direct_good, coalesce(a.bad, 0) as direct_bad
from kinds k cross join lateral (
  select count(*) filter (where o.helped) as helped, count(*) as ends, avg(o.steps)::float8 as steps,
         (array_agg((o.detail->>'direct_good')::int order by o.ended_at desc))[1] as good,
         (array_agg((o.detail->>'direct_bad')::int order by o.ended_at desc))[1] as bad
  from (select * from seedcore.move_outcomes m
        where m.stream = k.stream and m.tenant = k.tenant and m.type = k.type and m.move = k.move
          and m.ended_at is not null and m.detail->>'incident' = k.incident
        order by m.ended_at desc limit 500) o) a
"""

REMEMBERED = """
update seedcore.move_outcomes o set remembered = true
from unnest($1::uuid[], $2::smallint[]) f(task_id, n) where o.task_id = f.task_id and o.n = f.n
"""
