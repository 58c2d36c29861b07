"""Ended tasks, as other rooms read them: decisions, ends of a stream, ends of a time, and steps by agent."""

# Newest first by id, which is in the order of time: primary keys of finished, dead and tasks.
DECISIONS = """
select t.type, coalesce(t.domain, '') as domain, t.priority, e.attempts, octet_length(t.params::text) as params_bytes,
       e.decision::text as decision
from (select * from (select id, attempts, decision from seedcore.finished where decision is not null
                     order by id desc limit $1) f
      union all
      select * from (select id, attempts, decision from seedcore.dead where decision is not null
                     order by id desc limit $1) d
      order by id desc limit $1) e
join seedcore.tasks t on t.id = e.id
"""

# Primary keys, in the order of submission.
STREAM_ENDS = """
select e.ok, e.seconds from (
  select * from (select id, true as ok, extract(epoch from finished_at - started_at)::float8 as seconds, finished_at
                 from seedcore.finished where status = 'completed' order by id desc limit $2) f
  union all
  select * from (select id, false, null::float8, finished_at from seedcore.dead
                 where error_code <> all($4::text[]) order by id desc limit $2) d
  order by id desc limit $2) e
join seedcore.tasks t on t.id = e.id
where (case when t.domain is null then t.type else t.domain || '/' || t.type end) = $1
order by e.finished_at desc, e.id desc limit $3
"""

# Primary keys, which are in the order of submission: finished and dead by page, tasks.
RECENT_ENDS = """
select case when t.domain is null then t.type else t.domain || '/' || t.type end as stream, e.ok, e.attempts, e.code,
       e.agent, extract(epoch from now() - t.created_at)::float8 as age_s
from (select * from (select id, true as ok, null as code, attempts, decision->>'agent' as agent from seedcore.finished
                     where id >= seedcore.first_id(now() - make_interval(secs => $1)) and status = 'completed'
                     order by id desc limit $2) f
      union all
      select * from (select id, false, error_code, attempts, decision->>'agent' from seedcore.dead
                     where id >= seedcore.first_id(now() - make_interval(secs => $1)) and error_code <> all($4::text[])
                     order by id desc limit $2) d
      order by id desc limit $2) e
join seedcore.tasks t on t.id = e.id
where $3::uuid is null or e.id <> $3::uuid
"""

# Primary keys, in the order of submission, and that of usage for each task.
ENDED_WORK = """
select case when t.domain is null then t.type else t.domain || '/' || t.type end as stream, t.type, t.priority,
       e.attempts, octet_length(t.params::text) as params_bytes,
       extract(epoch from t.created_at)::float8 as created_s, extract(epoch from e.finished_at)::float8 as finished_s,
       extract(epoch from e.finished_at - e.started_at)::float8 as seconds,
       e.code is not null and e.code <> all($3::text[]) as failed,
       coalesce(e.decision->>'route' = 'plan' and e.decision->>'rule' <> all($5::text[]), false) as escalated,
       t.approved or coalesce(e.code = any($4::text[]), false) as approval,
       (e.decision->>'evidence')::float8 as evidence, u.money
from (select * from (select id, attempts, started_at, finished_at, null as code, decision from seedcore.finished
                     where status = 'completed' and ($2::float8 is null
                       or id >= seedcore.first_id(now() - make_interval(secs => $2)))
                     order by id desc limit $1) f
      union all
      select * from (select id, attempts, started_at, finished_at, error_code, decision from seedcore.dead
                     where $2::float8 is null or id >= seedcore.first_id(now() - make_interval(secs => $2))
                     order by id desc limit $1) d
      order by id desc limit $1) e
join seedcore.tasks t on t.id = e.id
left join lateral (select sum(money) as money from seedcore.usage where id = e.id) u on true
order by t.created_at, t.id
"""

# Index dead_finished, primary key of tasks.
DEAD_BY_STREAM = """
select case when t.domain is null then t.type else t.domain || '/' || t.type end as stream, count(*) as dead
from (select id from seedcore.dead where finished_at >= now() - make_interval(secs => $1) and error_code <> all($3::text[])
      order by finished_at desc limit $2) d
join seedcore.tasks t on t.id = d.id group by 1
"""

# Indexes plans_since and tasks_parent, primary keys of `finished` and `dead`.
STEPS_BY_AGENT = """
with recent as (
  select p.id, h.id is not null as open from seedcore.plans p left join seedcore.held h on h.id = p.id
  where p.since >= now() - make_interval(secs => $1) order by p.since desc limit $2)
select r.id as plan, r.open, e.decision->>'agent' as agent, count(*) as steps,
       count(*) filter (where e.status = 'completed') as completed
from recent r join seedcore.tasks t on t.parent_id = r.id join seedcore.ended e on e.id = t.id
where e.decision->>'agent' is not null and e.status <> 'cancelled' group by 1, 2, 3
"""

# Primary keys of tasks, leases, finished and dead.
STARTED = """
select t.id, t.tenant, t.params ->> 'name' as name
from seedcore.tasks t
where t.id = any($1::uuid[]) and t.type = $2 and ($3::text is null or t.tenant = $3)
  and (exists (select from seedcore.leases l where l.id = t.id)
       or exists (select from seedcore.finished f where f.id = t.id)
       or exists (select from seedcore.dead x where x.id = t.id))
"""

# Primary keys. A retried parent may end again: its first end is what counts for who asked before.
PARENT_ENDS = """
select t.id, t.tenant, coalesce(f.status = 'completed', false) as completed
from seedcore.tasks t
left join seedcore.finished f on f.id = t.parent_id
left join seedcore.dead x on x.id = t.parent_id
where t.id = any($1::uuid[]) and t.parent_id is not null and (f.status = 'completed' or x.id is not null)
"""

# Primary keys, by page, newest first: ids are in the order of submission, so a task may end a window later.
SPENT = """
select count(*)::bigint as tasks, count(*) filter (where not e.ok)::bigint as failures,
       coalesce(sum(e.seconds), 0)::float8 as seconds, coalesce(sum(e.seconds * e.seconds), 0)::float8 as squares,
       count(e.seconds)::bigint as timed
from (
  select f.id, true as ok, extract(epoch from f.finished_at - f.started_at)::float8 as seconds
  from (select * from seedcore.finished where id >= seedcore.first_id($1) and id < seedcore.first_id($2)
        and status = 'completed' order by id desc limit $5) f
  union all
  select x.id, false, extract(epoch from x.finished_at - x.started_at)::float8
  from (select * from seedcore.dead where id >= seedcore.first_id($1) and id < seedcore.first_id($2)
        and error_code <> all($6::text[]) order by id desc limit $5) x) e
join seedcore.tasks t on t.id = e.id
where ($3::text is null or t.type = $3) and ($4::text is null or t.domain = $4)
"""

# Ended tasks that had a plan, and their steps; primary keys, and index tasks_parent.
ENDED_PLANS = """
select t.id, t.tenant, t.type, t.domain, e.status, e.error_code, left(e.error_message, 1000) as error_message,
       extract(epoch from e.finished_at - e.started_at)::float8 as seconds, e.finished_at,
       coalesce(p.replans, 0) as replans, coalesce(p.recipe, false) as recipe, e.decision->>'rule' as rule,
       case when t.type = 'goal' then left((t.params->'goal')::text, 2000) end as goal,
       array(select left(k, 200) from jsonb_object_keys(case
               when jsonb_typeof(g.given) = 'object' then g.given else '{}' end) k limit 32) as inputs,
       s.steps::text as steps
from unnest($1::uuid[]) i(id)
join seedcore.tasks t on t.id = i.id
cross join lateral (select case when t.type = 'goal' then t.params->'inputs' else t.params end as given) g
cross join lateral (select * from seedcore.ended x where x.id = t.id) e
left join seedcore.plans p on p.id = t.id
cross join lateral (
  select coalesce(jsonb_agg(jsonb_build_object(
           'step', c.step, 'skill', c.type, 'status', x.status, 'code', x.error_code,
           'message', left(x.error_message, 300)) order by c.id), '[]') as steps
  from (select * from seedcore.tasks k
        where k.parent_id = t.id and k.created_at >= coalesce(p.since, '-infinity') order by k.id limit 64) c
  left join lateral (select * from seedcore.ended y where y.id = c.id) x on true) s
"""

# Newest first by id, which is in the order of time: primary keys of finished and dead by page, tasks.
ENDS_BY_TYPE = """
select t.type, e.code, e.rule, count(*) as ends, sum(e.attempts) as attempts, avg(e.seconds)::float8 as seconds,
       min(extract(epoch from now() - t.created_at))::float8 as newest_s,
       max(extract(epoch from now() - t.created_at))::float8 as oldest_s
from (select * from (select id, null as code, null as rule, attempts,
                            extract(epoch from finished_at - started_at)::float8 as seconds from seedcore.finished
                     where id >= seedcore.first_id(now() - make_interval(secs => $1)) and status = 'completed'
                     order by id desc limit $2) f
      union all
      select * from (select id, error_code, decision->>'rule', attempts, null::float8 from seedcore.dead
                     where id >= seedcore.first_id(now() - make_interval(secs => $1)) order by id desc limit $2) d
      order by id desc limit $2) e
join seedcore.tasks t on t.id = e.id
where $3::text is null or t.tenant = $3
group by 1, 2, 3
"""

# Index dead_code, primary key of tasks.
UNREACHED_GOALS = """
select t.params->'goal' as goal, t.params->'inputs' as inputs
from (select id from seedcore.dead where error_code = any($1::text[])
        and id >= seedcore.first_id(now() - make_interval(secs => $2)) order by id desc limit $3) d
join seedcore.tasks t on t.id = d.id
where t.type = 'goal' and ($4::text is null or t.tenant = $4) and octet_length(t.params::text) <= 65536
"""
