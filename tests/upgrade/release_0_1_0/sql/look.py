"""The statements that only read."""

# -- read --------------------------------------------------------------------------------------------------

STATE_COLUMNS = """
id, type, params::text as params, status, domain, priority, queue, idempotency_key, attempts, max_attempts, timeout_s,
coalesce(run_at, run_after) as run_after, created_at, started_at, finished_at, result::text as result, error_code,
error_message, decision::text as decision, parent_id, step, deadline, limit_key, errors::text as errors
"""

GET = f"select {STATE_COLUMNS} from seedcore.task_state where id = $1"

GET_MANY = f"select {STATE_COLUMNS} from seedcore.task_state where id = any($1::uuid[])"

CHILDREN = f"select {STATE_COLUMNS} from seedcore.task_state where parent_id = $1 order by id"

# Primary keys, and index tasks_parent.
PLAN_OF = """
select p.policy::text as policy, p.budget::text as budget, p.replans, p.without, p.recipe, p.until, u.tokens, u.money,
       (select count(*) from seedcore.tasks t where t.parent_id = p.id and t.created_at >= p.since) as steps,
       extract(epoch from coalesce(e.finished_at, now()) - p.since)::float8 as time_s
from seedcore.plans p left join seedcore.ended e on e.id = p.id cross join lateral seedcore.spent(p.id, p.since) u
where p.id = $1
"""

ENDED = "select id from seedcore.ended where id = any($1::uuid[])"

# What happened to the tasks followed ($1), after the event that each follower saw last ($2). An event's id is four times
# its tick (or its lease's token, of the same sequence) plus its rank. Primary keys, and index events_task.
EVENTS = """
with followed as materialized (select * from unnest($1::uuid[], $2::bigint[]) a(task_id, after))
, found as (
  select t.id as task_id, 1::bigint as id, 'submitted' as event, t.created_at as at, '{}'::jsonb as data
    from followed f cross join lateral (select * from seedcore.tasks where id = f.task_id offset 0) t where f.after < 1
  union all
  select l.id, l.token * 4, 'leased', l.leased_at, jsonb_build_object('attempt', l.attempts)
    from followed f cross join lateral (select * from seedcore.leases where id = f.task_id offset 0) l
  union all
  select d.id, x.id, x.event, x.at, x.data
    from followed f cross join lateral (select * from seedcore.ended where id = f.task_id offset 0) d
    cross join lateral (values
      (d.token * 4, 'leased', d.started_at, jsonb_build_object('attempt', d.attempts), d.token is not null),
      (d.token * 4 + 1, 'started', d.started_at, jsonb_build_object('attempt', d.attempts), d.began),
      -- Its last event comes last, whatever was written late: followers of a task never look back.
      (greatest(d.tick, (select max(e.tick) from seedcore.events e where e.task_id = d.id)) * 4 + 3, d.status, d.finished_at,
       jsonb_strip_nulls(jsonb_build_object('code', d.error_code, 'message', d.error_message)), true)
    ) x(id, event, at, data, happened) where x.happened
  union all
  select e.task_id, x.id, x.event, x.at, x.data
    from followed f cross join lateral (select * from seedcore.events where task_id = f.task_id offset 0) e
    cross join lateral (values
      ((e.data->>'token')::bigint * 4, 'leased', (e.data->>'leased_at')::timestamptz,
       jsonb_build_object('attempt', e.data->'attempt'), e.data ? 'token'),
      (e.tick * 4 + 2, e.event, e.at, e.data - 'token' - 'leased_at', true)
    ) x(id, event, at, data, happened) where x.happened
)
select e.id, e.task_id, e.event, e.at, e.data::text as data
from found e join followed f on f.task_id = e.task_id where e.id > f.after order by e.id
"""

# Everything that became visible since a snapshot: transactions that it did not know ($1, its xmax) and those that were
# under way then ($2, its xip), so that one that commits late is not missed. $3: up to which snapshot, $4: after which
# tick of them. Index events_xid.
LOG = """
select e.tick, e.event, e.at, coalesce(e.task_ids, array[e.task_id]) as task_ids, (e.data - 'token' - 'leased_at')::text as data
from seedcore.events e
where (e.xid >= $1::text::xid8 or e.xid = any($2::text[]::xid8[]))
  and pg_visible_in_snapshot(e.xid, $3::text::pg_snapshot) and e.tick > $4
order by e.tick limit $5
"""

SNAPSHOT = "select pg_current_snapshot()::text"

QUEUE_DEPTHS = """
select queue, sum(ready) as ready, sum(deferred) as deferred, sum(gated) as gated,
       extract(epoch from now() - min(oldest))::float8 as oldest_s from (
  select r.queue, count(*) as ready, 0 as deferred, 0 as gated,
         min((select created_at from seedcore.tasks t where t.id = r.id)) as oldest
    from (select queue, id from seedcore.ready order by seq limit 10000) r group by r.queue
  union all
  select t.queue, 0, count(*), 0, null from (select id from seedcore.deferred limit 10000) d
    join seedcore.tasks t on t.id = d.id group by t.queue
  union all
  select queue, 0, 0, count(*), null from (select queue from seedcore.gated limit 10000) g group by queue) q
group by queue order by queue
"""

PAUSED = "select queue from seedcore.paused order by queue"

QUEUE_TOTALS = """
select (select count(*) from seedcore.leases) as running,
       (select count(*) from seedcore.held where status = 'waiting') as waiting,
       (select count(*) from seedcore.held where status = 'approval') as approval,
       (select count(*) from (select 1 from seedcore.dead limit 10000) d) as dead
"""

SESSIONS = """
select name, queue, holding, extract(epoch from now() - started_at)::float8 as up_s,
       extract(epoch from now() - last_claim)::float8 as last_claim_s
from seedcore.sessions where expires_at > now() order by name
"""
