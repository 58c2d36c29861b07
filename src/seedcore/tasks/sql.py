"""Every statement of the task engine, by name, each beside the index that serves it.

Claims and acknowledgements run with ENGINE_SESSION (see `stores.postgres`): their plans stay index and TID scans
whatever the size of history; `tests/tasks/test_plans_of_statements.py` asks EXPLAIN.
"""

# -- submit ------------------------------------------------------------------------------------------------

_INPUT = """
input as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::smallint[],
                       $8::real[], $9::timestamptz[], $10::text[])
    as i(id, type, params, queue, domain, priority, max_attempts, timeout_s, run_after, key))
"""

_STORE = """
, stored as (
  insert into seedcore.tasks (id, type, params, queue, domain, priority, max_attempts, timeout_s, run_after, idempotency_key)
  select id, type, params::jsonb, queue, domain, priority, max_attempts, timeout_s, run_after, key from fresh)
, now_ready as (
  insert into seedcore.ready (id, queue, priority)
  select id, queue, priority from fresh where run_after is null or run_after <= now())
, later as (
  insert into seedcore.deferred (id, run_at, queue, priority)
  select id, run_after, queue, priority from fresh where run_after > now())
, said as (insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from fresh having count(*) > 0)
, woken as (select count(pg_notify('seedcore_ready', q)) from (select distinct queue q from fresh) d)
select f.id from fresh f, woken
"""

# Without keys: plain inserts.
SUBMIT = f"with {_INPUT}, fresh as (select * from input) {_STORE}"

# With keys: primary key idempotency (queue, key) decides who is first; repeats inside the batch too.
SUBMIT_KEYED = f"""
with {_INPUT}
, won as (
  insert into seedcore.idempotency (queue, key, task_id) select queue, key, id from input where key is not null
  on conflict do nothing returning task_id)
, fresh as (select * from input where key is null or id in (select task_id from won))
{_STORE}"""

# Primary keys idempotency (queue, key) and tasks (id). A statement of its own: its snapshot is newer.
FIRST_OF_KEYS = """
select a.n, t.id, t.type = a.type and t.params = a.params::jsonb as same
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality as a(queue, key, type, params, n)
join seedcore.idempotency i on i.queue = a.queue and i.key = a.key
join seedcore.tasks t on t.id = i.task_id
"""

# -- lease -------------------------------------------------------------------------------------------------

# Index ready_order gives the order, the delete is a TID scan; sessions by primary key: a dispatcher whose session
# was reaped while it slept gets nothing.
CLAIM = """
with taken as (
  delete from seedcore.ready where ctid = any(array(
    select ctid from seedcore.ready where queue = $1 and exists (
        select 1 from seedcore.sessions s where s.id = $2 and s.expires_at > now())
    order by priority desc, seq limit $3 for update skip locked))
  returning id, attempts)
, leased as (
  insert into seedcore.leases (id, token, owner, attempts)
  select id, nextval('seedcore.ticks'), $2, attempts + 1 from taken returning id, token, attempts)
select l.id, l.token, l.attempts as attempt, t.type, t.params::text as params, t.bindings::text as bindings, t.queue,
       t.domain, t.priority, t.max_attempts, t.timeout_s, t.idempotency_key, t.parent_id,
       t.approved, t.created_at
from leased l join seedcore.tasks t on t.id = l.id
order by t.priority desc, l.token
"""

# Primary key leases (id); the token fences. One event a status, not one a task.
FINISH = """
with ack as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[])
    as a(id, token, status, result, error_code, error_message, decision, began))
, gone as (
  delete from seedcore.leases l using ack a where l.id = a.id and l.token = a.token
  returning a.*, l.attempts, l.leased_at)
, said as (
  insert into seedcore.events (event, task_ids) select status, array_agg(id) from gone group by status returning tick, event)
, kept as (
  insert into seedcore.finished
    (id, tick, token, status, attempts, began, started_at, result, error_code, error_message, decision)
  select g.id, s.tick, g.token, g.status, g.attempts, g.began, g.leased_at, g.result::jsonb, g.error_code, g.error_message,
         g.decision::jsonb
  from gone g join said s on s.event = g.status)
, told as (select count(pg_notify('seedcore_events', '')) from said)
select id from gone, told
"""

STARTED = """
with said as (
  insert into seedcore.events (task_id, event, data)
  select l.id, 'started', jsonb_build_object('attempt', l.attempts) from seedcore.leases l
  join unnest($1::uuid[], $2::bigint[]) a(id, token) on l.id = a.id and l.token = a.token)
select pg_notify('seedcore_events', '')
"""

PROGRESS = """
insert into seedcore.events (task_id, event, data)
select l.id, 'progress', a.data::jsonb from seedcore.leases l
join unnest($1::uuid[], $2::bigint[], $3::text[]) a(id, token, data) on l.id = a.id and l.token = a.token
"""

RETRY = """
with again as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::text[], $5::text[])
    as a(id, token, delay_s, error_code, error_message))
, gone as (
  delete from seedcore.leases l using again a where l.id = a.id and l.token = a.token
  returning a.*, l.attempts, l.leased_at)
, later as (
  insert into seedcore.deferred (id, run_at, queue, priority, attempts)
  select g.id, now() + make_interval(secs => g.delay_s), t.queue, t.priority, g.attempts
  from gone g join seedcore.tasks t on t.id = g.id)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'delay_s', round(delay_s::numeric, 3), 'code', error_code,
                                           'message', error_message, 'token', token, 'leased_at', leased_at) from gone)
, told as (select count(pg_notify('seedcore_events', '')) from gone)
select id from gone, told
"""

# Given back unstarted: the attempt does not count.
RELEASE = """
with gone as (
  delete from seedcore.leases l using unnest($1::uuid[], $2::bigint[]) a(id, token)
  where l.id = a.id and l.token = a.token returning l.id, l.attempts)
, back as (
  insert into seedcore.ready (id, queue, priority, attempts)
  select g.id, t.queue, t.priority, g.attempts - 1 from gone g join seedcore.tasks t on t.id = g.id returning queue)
, woken as (select count(pg_notify('seedcore_ready', q)) from (select distinct queue q from back) d)
select id from gone, woken
"""

HOLD = """
with gone as (
  delete from seedcore.leases l using unnest($1::uuid[], $2::bigint[], $3::text[]) a(id, token, decision)
  where l.id = a.id and l.token = a.token returning l.id, l.attempts, a.decision)
, kept as (
  insert into seedcore.held (id, status, attempts, decision)
  select id, 'approval', attempts - 1, decision::jsonb from gone)
, said as (insert into seedcore.events (task_id, event) select id, 'approval' from gone)
select id, pg_notify('seedcore_events', '') from gone
"""

PLAN_PARENT = """
with gone as (
  delete from seedcore.leases l where l.id = $1 and l.token = $2 returning l.id, l.attempts)
, kept as (
  insert into seedcore.held (id, status, attempts, decision, plan)
  select id, 'waiting', attempts, $3::jsonb, $4::jsonb from gone)
, said as (insert into seedcore.events (task_id, event, data)
           select id, 'waiting', jsonb_build_object('steps', $5::int) from gone)
select id from gone
"""

PLAN_STEPS = """
with input as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) as i(id, step, type, params, bindings))
, parent as (select * from seedcore.tasks where id = $6)
, stored as (
  insert into seedcore.tasks (id, type, params, bindings, queue, domain, priority, max_attempts, parent_id, step)
  select i.id, i.type, i.params::jsonb, i.bindings::jsonb, p.queue, p.domain, p.priority, p.max_attempts, p.id, i.step
  from input i, parent p)
, now_ready as (
  insert into seedcore.ready (id, queue, priority)
  select i.id, p.queue, p.priority from input i, parent p where not (i.id = any($7::uuid[])))
, said as (
  insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from input)
select pg_notify('seedcore_ready', p.queue), pg_notify('seedcore_events', '') from parent p
"""

PLAN_WAIT = "insert into seedcore.held (id, status, needs) values ($1, 'waiting', $2)"

ADVANCE_PLANS = "select seedcore.advance_plans($1::uuid[])"

# Results that a step's params are bound to; primary key finished (id).
RESULTS = "select id, result::text as result from seedcore.finished where id = any($1::uuid[]) and status = 'completed'"

# Index deferred_due; bounded, so that a wave of due tasks is taken in pages.
PROMOTE = """
with due as (
  delete from seedcore.deferred where ctid = any(array(
    select ctid from seedcore.deferred where run_at <= now() order by run_at limit $1 for update skip locked))
  returning id, queue, priority, attempts)
, moved as (
  insert into seedcore.ready (id, queue, priority, attempts) select id, queue, priority, attempts from due returning queue)
, woken as (select count(pg_notify('seedcore_ready', q)) from (select distinct queue q from moved) d)
select count(*) from due, woken
"""

NEXT_DUE = "select extract(epoch from min(run_at) - now())::float8 from seedcore.deferred"

# -- sessions ----------------------------------------------------------------------------------------------

# A restarted actor's earlier session is over: its leases are reaped now, not after their time.
OPEN_SESSION = """
with before as (update seedcore.sessions set expires_at = now() where actor = $5 and id <> $1)
insert into seedcore.sessions (id, name, queue, expires_at, actor)
values ($1, $2, $3, now() + make_interval(secs => $4), $5)
on conflict (id) do update set expires_at = excluded.expires_at
"""

# One heartbeat a dispatcher; late but not yet reaped is in time. No row: the session was reaped, its leases are lost.
HEARTBEAT = """
update seedcore.sessions set expires_at = now() + make_interval(secs => $2), holding = $3,
       last_claim = case when $4 then now() else last_claim end
where id = $1 returning id
"""

CLOSE_SESSION = "delete from seedcore.sessions where id = $1"

# All leases of a session; index leases_owner. `settled`: old enough that its claim must have been answered.
OWNED = """
select id, token, leased_at < now() - interval '5 seconds' as settled from seedcore.leases where owner = $1
"""

# -- control -----------------------------------------------------------------------------------------------

# Cancel wins over a late completion: the lease goes, so its token is worth nothing. Children go with their parent.
CANCEL = """
with recursive family as (
  select id from seedcore.tasks where id = $1
  union all select t.id from seedcore.tasks t join family f on t.parent_id = f.id)
, a as (delete from seedcore.ready where id in (select id from family) returning id, attempts)
, b as (delete from seedcore.deferred where id in (select id from family) returning id, attempts)
, c as (delete from seedcore.held where id in (select id from family) returning id, attempts)
, d as (delete from seedcore.leases where id in (select id from family) returning id, attempts)
, gone as (select * from a union all select * from b union all select * from c union all select * from d)
, said as (
  insert into seedcore.events (event, task_ids) select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
, kept as (insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
           select id, tick, 'cancelled', attempts, 'cancelled', 'cancelled on request' from gone, said)
select id, pg_notify('seedcore_events', ''), pg_notify('seedcore_cancel', id::text) from gone
"""

REQUEUE = """
with back as (delete from seedcore.finished where id = $1 and status in ('failed', 'cancelled') returning id, status)
, again as (
  insert into seedcore.ready (id, queue, priority)
  select t.id, t.queue, t.priority from back b join seedcore.tasks t on t.id = b.id returning queue)
, said as (insert into seedcore.events (task_id, event, data)
           select id, 'retried', jsonb_build_object('by', 'request', 'was', status) from back)
select id, pg_notify('seedcore_ready', (select queue from again)), pg_notify('seedcore_events', '') from back
"""

APPROVE = """
with freed as (delete from seedcore.held where id = $1 and status = 'approval' returning id, attempts, decision)
, noted as (update seedcore.tasks set approved = true where id in (select id from freed))
, again as (
  insert into seedcore.ready (id, queue, priority, attempts)
  select t.id, t.queue, t.priority, f.attempts from freed f join seedcore.tasks t on t.id = f.id returning queue)
, said as (insert into seedcore.events (task_id, event, data) select id, 'approval', '{"released": true}' from freed)
select id, pg_notify('seedcore_ready', (select queue from again)), pg_notify('seedcore_events', '') from freed
"""

REJECT = """
with freed as (delete from seedcore.held where id = $1 and status = 'approval' returning id, attempts, decision)
, said as (insert into seedcore.events (event, task_ids) select 'failed', array[id] from freed returning tick)
, kept as (
  insert into seedcore.finished (id, tick, status, attempts, error_code, error_message, decision)
  select id, tick, 'failed', attempts, 'approval_rejected', $2, decision from freed, said)
select id, pg_notify('seedcore_events', '') from freed
"""

# -- read --------------------------------------------------------------------------------------------------

STATE_COLUMNS = """
id, type, params::text as params, status, domain, priority, queue, idempotency_key, attempts, max_attempts, timeout_s,
coalesce(run_at, run_after) as run_after, created_at, started_at, finished_at, result::text as result, error_code,
error_message, decision::text as decision, parent_id, step
"""

GET = f"select {STATE_COLUMNS} from seedcore.task_state where id = $1"

CHILDREN = f"select {STATE_COLUMNS} from seedcore.task_state where parent_id = $1 order by id"

PLAN_OF = "select plan::text from seedcore.held where id = $1"

ENDED = "select id from seedcore.finished where id = any($1::uuid[])"

# What happened to the tasks followed ($1), after the event that each follower saw last ($2). An event's id is four times
# its tick (or its lease's token, of the same sequence) plus its rank. Primary keys, and index events_task.
EVENTS = """
with followed as materialized (select * from unnest($1::uuid[], $2::bigint[]) a(task_id, after))
, found as (
  select t.id as task_id, 1::bigint as id, 'submitted' as event, t.created_at as at, '{}'::jsonb as data
    from followed f join seedcore.tasks t on t.id = f.task_id where f.after < 1
  union all
  select l.id, l.token * 4, 'leased', l.leased_at, jsonb_build_object('attempt', l.attempts)
    from followed f join seedcore.leases l on l.id = f.task_id
  union all
  select d.id, x.id, x.event, x.at, x.data
    from followed f join seedcore.finished d on d.id = f.task_id
    cross join lateral (values
      (d.token * 4, 'leased', d.started_at, jsonb_build_object('attempt', d.attempts), d.token is not null),
      (d.token * 4 + 1, 'started', d.started_at, jsonb_build_object('attempt', d.attempts), d.began),
      (d.tick * 4 + 3, d.status, d.finished_at,
       jsonb_strip_nulls(jsonb_build_object('code', d.error_code, 'message', d.error_message)), true)
    ) x(id, event, at, data, happened) where x.happened
  union all
  select e.task_id, x.id, x.event, x.at, x.data
    from followed f join seedcore.events e on e.task_id = f.task_id
    cross join lateral (values
      ((e.data->>'token')::bigint * 4, 'leased', (e.data->>'leased_at')::timestamptz,
       jsonb_build_object('attempt', e.data->'attempt'), e.data ? 'token'),
      (e.tick * 4 + 2, e.event, e.at, e.data - 'token' - 'leased_at', true)
    ) x(id, event, at, data, happened) where x.happened
)
select e.id, e.task_id, e.event, e.at, e.data::text as data
from found e join followed f on f.task_id = e.task_id where e.id > f.after order by e.id
"""

QUEUE_DEPTHS = """
select queue, sum(ready) as ready, sum(deferred) as deferred,
       extract(epoch from now() - min(oldest))::float8 as oldest_s from (
  select r.queue, count(*) as ready, 0 as deferred,
         min((select created_at from seedcore.tasks t where t.id = r.id)) as oldest
    from (select queue, id from seedcore.ready order by seq limit 10000) r group by r.queue
  union all select queue, 0, count(*), null from (select queue from seedcore.deferred limit 10000) d group by queue) q
group by queue order by queue
"""

QUEUE_TOTALS = """
select (select count(*) from seedcore.leases) as running,
       (select count(*) from seedcore.held where status = 'waiting') as waiting,
       (select count(*) from seedcore.held where status = 'approval') as approval
"""

SESSIONS = """
select name, queue, holding, extract(epoch from now() - started_at)::float8 as up_s,
       extract(epoch from now() - last_claim)::float8 as last_claim_s
from seedcore.sessions where expires_at > now() order by name
"""

# -- reap --------------------------------------------------------------------------------------------------

REAP_SESSIONS = "delete from seedcore.sessions where expires_at <= now() returning name"

# Leases whose dispatcher has gone; index leases_owner. In pages: $1 at once.
REAP_LEASES = """
with lost as (
  delete from seedcore.leases where ctid = any(array(
    select l.ctid from seedcore.leases l
    where not exists (select 1 from seedcore.sessions s where s.id = l.owner)
    limit $1 for update skip locked))
  returning id, token, attempts, leased_at)
, seen as (
  select l.*, t.queue, t.priority, t.max_attempts, t.parent_id is not null as has_parent
  from lost l join seedcore.tasks t on t.id = l.id)
, again as (
  insert into seedcore.deferred (id, run_at, queue, priority, attempts)
  select id, now() + make_interval(secs => $2 * random()), queue, priority, attempts from seen where attempts < max_attempts)
, died as (
  insert into seedcore.events (event, task_ids)
  select 'failed', array_agg(id) from seen where attempts >= max_attempts having count(*) > 0 returning tick)
, dead as (
  insert into seedcore.finished (id, tick, token, status, attempts, began, started_at, error_code, error_message)
  select id, tick, token, 'failed', attempts, true, leased_at, 'lease_expired', 'the worker was lost on the last attempt'
  from seen, died where attempts >= max_attempts)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'code', 'lease_expired', 'token', token, 'leased_at', leased_at)
  from seen where attempts < max_attempts)
, told as (select count(pg_notify('seedcore_events', '')) from seen)
select id, attempts >= max_attempts as dead, has_parent from seen, told
"""

EXPIRE_EVENTS = """
delete from seedcore.events where ctid = any(array(
  select ctid from seedcore.events where at < now() - make_interval(secs => $1) limit $2))
"""

EXPIRE_KEYS = """
delete from seedcore.idempotency where ctid = any(array(
  select i.ctid from seedcore.idempotency i where i.created_at < now() - make_interval(secs => $1)
  and exists (select 1 from seedcore.finished f where f.id = i.task_id) limit $2))
"""

# Index finished_at. Failed tasks are kept longer: they are the dead letters.
EXPIRE_FINISHED = """
with old as (
  delete from seedcore.finished where ctid = any(array(
    select ctid from seedcore.finished
    where finished_at < now() - make_interval(secs => case when status = 'failed' then $2::float8 else $1::float8 end)
    and finished_at < now() - make_interval(secs => least($1::float8, $2::float8)) limit $3))
  returning id)
delete from seedcore.tasks where id in (select id from old)
"""
