"""Read tasks and queues."""

from seedcore.tasks.model import Status

STATE_COLUMNS = """
id, type, params::text as params, status, domain, priority, queue, idempotency_key, attempts, max_attempts, timeout_s,
coalesce(run_at, run_after) as run_after, created_at, started_at, finished_at, result::text as result, error_code,
error_message, decision::text as decision, parent_id, step, deadline, limit_key, errors::text as errors,
tenant, traceparent, limits::text as limits,
(select json_build_object('tokens', sum(u.tokens), 'money', sum(u.money)) from seedcore.usage u
  where u.id = task_state.id having count(*) > 0)::text as usage
"""

GET = f"select {STATE_COLUMNS} from seedcore.task_state where id = $1"

GET_MANY = f"select {STATE_COLUMNS} from seedcore.task_state where id = any($1::uuid[])"


def find(where: str, parameters: int) -> str:
    """The newest tasks that `where` (made of the names of columns) lets through; the last parameter is the limit."""
    return f"select {STATE_COLUMNS} from seedcore.task_state {where} order by id desc limit ${parameters}"


def is_skill(name: str) -> str:
    """SQL that says whether `name`, an expression of SQL, is a skill that gateways have published."""
    return f"exists (select from seedcore.skills published where published.name = {name})"


# The short table that holds the ids of a state: a filter by state starts there, not in history.
IDS_OF_STATUS = {
    Status.QUEUED: (
        "(select id from seedcore.ready union all select id from seedcore.deferred"
        " union all select id from seedcore.gated)"
    ),
    Status.RUNNING: "(select id from seedcore.leases)",
    Status.WAITING: "(select id from seedcore.held where status = 'waiting')",
    Status.APPROVAL: "(select id from seedcore.held where status = 'approval')",
    Status.COMPLETED: "(select id from seedcore.finished where status = 'completed')",
    Status.FAILED: "(select id from seedcore.dead)",
    Status.CANCELLED: "(select id from seedcore.finished where status = 'cancelled')",
}

CHILDREN = f"select {STATE_COLUMNS} from seedcore.task_state where parent_id = $1 order by id"

TENANT = "select tenant from seedcore.tasks where id = $1"

OWNED = "select id from seedcore.tasks where id = any($1::uuid[]) and tenant = $2"

# Index tasks_tenant, which those of `default` are not in: the planner must see that it may use it.
OF_OTHERS = "tenant <> 'default'"

UNFINISHED = """
select t.id from seedcore.tasks t
where t.id = any($1::uuid[]) and not exists (select 1 from seedcore.ended e where e.id = t.id)
"""

ENDED = "select id from seedcore.ended where id = any($1::uuid[])"

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

# What waits and runs of one tenant ($1): a walk along index ready_turns from lane to lane and priority to priority.
TENANT_DEPTHS = """
with recursive lanes as (
  (select queue, slow, rank from seedcore.ready order by queue, slow, rank limit 1)
  union all
  select n.* from lanes l cross join lateral (
    select queue, slow, rank from seedcore.ready r where (r.queue, r.slow, r.rank) > (l.queue, l.slow, l.rank)
    order by queue, slow, rank limit 1) n)
select queue, sum(ready) as ready, sum(deferred) as deferred, sum(gated) as gated,
       extract(epoch from now() - min(oldest))::float8 as oldest_s from (
  select l.queue, count(*) as ready, 0 as deferred, 0 as gated,
         min((select created_at from seedcore.tasks t where t.id = r.id)) as oldest
    from lanes l cross join lateral (
      select id from seedcore.ready r where r.queue = l.queue and r.slow = l.slow and r.rank = l.rank and r.tenant = $1
      order by seq limit 10000) r group by l.queue
  union all
  select d.queue, 0, count(*), 0, null from (
    select t.queue from seedcore.deferred d join seedcore.tasks t on t.id = d.id where t.tenant = $1 limit 10000) d
    group by d.queue
  union all
  select g.queue, 0, 0, count(*), null from (select queue from seedcore.gated where tenant = $1 limit 10000) g
    group by g.queue) q
group by queue order by queue
"""

TENANT_TOTALS = """
select (select count(*) from seedcore.leases l join seedcore.tasks t on t.id = l.id where t.tenant = $1) as running,
       (select count(*) from (select 1 from seedcore.held h join seedcore.tasks t on t.id = h.id
                              where h.status = 'waiting' and t.tenant = $1 limit 10000) w) as waiting,
       (select count(*) from (select 1 from seedcore.held h join seedcore.tasks t on t.id = h.id
                              where h.status = 'approval' and t.tenant = $1 limit 10000) a) as approval,
       (select count(*) from (select 1 from seedcore.dead d join seedcore.tasks t on t.id = d.id
                              where t.tenant = $1 limit 10000) d) as dead
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
