"""Every statement of the task engine, by name, each beside the index that serves it.

Claims and acknowledgements run with ENGINE_SESSION (see `stores.postgres`): their plans stay index and TID scans
whatever the size of history; `tests/tasks/test_plans_of_statements.py` asks EXPLAIN.
"""

# -- submit ------------------------------------------------------------------------------------------------

_INPUT = """
input as materialized (
  select i.*, -i.priority as rank, run_after is null or run_after <= now() as due
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::smallint[], $8::real[],
              $9::bool[], $10::timestamptz[], $11::text[], $12::timestamptz[], $13::text[], $14::float8[])
    as i(id, type, params, queue, domain, priority, max_attempts, timeout_s, slow, run_after, key, deadline, limit_key,
         period_s))
"""

_STORE = """
, stored as (
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, run_after,
                              deadline, limit_key, idempotency_key)
  select id, type, params::jsonb, queue, slow, domain, priority, max_attempts, timeout_s, run_after, deadline, limit_key, key
  from fresh)
, now_ready as (
  insert into seedcore.ready (id, queue, slow, rank)
  select id, queue, slow, rank from fresh where due and limit_key is null)
, closing as (insert into seedcore.deadlines (id, at) select id, deadline from fresh where deadline is not null)
, gated as (
  insert into seedcore.gated (id, key, queue, slow, rank)
  select id, limit_key, queue, slow, rank from fresh where due and limit_key is not null returning id)
, later as (
  insert into seedcore.deferred (id, run_at) select id, run_after from fresh where not due returning run_at)
, said as (insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from fresh having count(*) > 0)
, woken as (
  select count(seedcore.wake(d.queue, d.slow)) from (
    select distinct queue, slow from fresh where due and limit_key is null) d)
, rouse as (
  select count(pg_notify('seedcore_later', extract(epoch from c.at - now())::text)) from (
    select min(at) as at from (select run_at as at from later union all select now() from gated
                               union all select deadline from fresh where deadline is not null) m) c where c.at is not null)
, told as (select seedcore.tell())
select f.id, now() as created_at from fresh f, woken, rouse, told
"""

# Due now, without key, limit or deadline, as nearly all are: no table is opened that gets no row.
SUBMIT_NOW = """
with input as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::smallint[], $8::real[],
                       $9::bool[]) as i(id, type, params, queue, domain, priority, max_attempts, timeout_s, slow))
, stored as (
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s)
  select id, type, params::jsonb, queue, slow, domain, priority, max_attempts, timeout_s from input)
, now_ready as (insert into seedcore.ready (id, queue, slow, rank) select id, queue, slow, -priority from input)
, said as (insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from input)
select now() as created_at, (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from input) d),
       seedcore.tell()
"""

# Without keys: plain inserts.
SUBMIT = f"with {_INPUT}, fresh as (select * from input) {_STORE}"

# With keys: primary key idempotency (queue, key) decides who is first; repeats inside the batch too. A key whose period
# is over is free again, and one whose task retention took (its submitter has committed long since, or it would show).
SUBMIT_KEYED = f"""
with {_INPUT}
, won as (
  insert into seedcore.idempotency as i (queue, key, task_id, expires_at)
  select distinct on (queue, key) queue, key, id, now() + make_interval(secs => period_s)
  from input where key is not null order by queue, key, id
  on conflict (queue, key) do update set task_id = excluded.task_id, created_at = now(), expires_at = excluded.expires_at
  where i.expires_at <= now() or (i.created_at < now() - interval '1 hour'
        and not exists (select 1 from seedcore.tasks t where t.id = i.task_id))
  returning task_id)
, fresh as (select * from input where key is null or id in (select task_id from won))
{_STORE}"""

# Primary key limits (key), in order, so that two submitters never wait for each other in a circle.
SET_LIMITS = """
select count(seedcore.set_limit(key, running, per_s, burst)) from (
  select * from unnest($1::text[], $2::int[], $3::float8[], $4::int[]) as l(key, running, per_s, burst) order by key) o
"""

# Primary keys idempotency (queue, key) and tasks (id). A statement of its own: its snapshot is newer.
FIRST_OF_KEYS = """
select a.n, t.id, t.type = a.type and t.params = a.params::jsonb as same
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality as a(queue, key, type, params, n)
join seedcore.idempotency i on i.queue = a.queue and i.key = a.key
join seedcore.tasks t on t.id = i.task_id
"""

# -- lease -------------------------------------------------------------------------------------------------

# Index ready_order gives the order, from the places that `tasks.scan` has come to; the delete is a TID scan; sessions by
# primary key: a dispatcher whose session was reaped while it slept gets nothing. Placeholders: {0} queue, {1} session,
# {2} most, {3} lane, {4} to {6} places.
_CLAIM = """
taken as (
  delete from seedcore.ready where ctid = any(array(
    select r.ctid from unnest({4}::smallint[], {5}::bigint[], {6}::smallint[]) as w(rank, seq, until)
    cross join lateral (
      select c.ctid from seedcore.ready c
      where c.queue = {0} and c.slow = {3} and (c.rank, c.seq) > (w.rank, w.seq) and (c.rank, c.seq) < (w.until, 0)
      order by c.rank, c.seq limit {2} for update skip locked) r
    where exists (select 1 from seedcore.sessions s where s.id = {1} and s.expires_at > now())
      and not exists (select 1 from seedcore.paused p where p.queue = {0}) limit {2}))
  returning id, seq, attempts + 1 as attempt, nextval('seedcore.ticks') as token)
, leased as (
  insert into seedcore.leases (id, token, owner, attempts) select id, token, {1}, attempt from taken)
"""

# The columns stand in the order of `model.Lease`. No CTE is joined to another: without hash joins that would compare
# every row of a batch with every other.
_LEASED = """
select k.id, k.token, k.attempt, t.type, t.params::text as params, t.bindings::text as bindings, t.queue,
       t.slow, t.domain, t.priority, t.max_attempts, t.timeout_s, t.limit_key, t.idempotency_key, t.parent_id, t.approved, t.created_at, k.seq
from taken k join seedcore.tasks t on t.id = k.id
"""

CLAIM = "with " + _CLAIM.format("$1", "$2", "$3", "$4", "$5", "$6", "$7") + _LEASED + "order by t.priority desc, k.seq"

# Primary key leases (id); the token fences. One event a status, not one a task. Failed tasks are the dead letters.
_FINISH = """
ack as materialized (
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
  from gone g join said s on s.event = g.status where g.status <> 'failed')
, died as (
  insert into seedcore.dead
    (id, tick, token, attempts, began, started_at, error_code, error_message, errors, decision)
  select g.id, s.tick, g.token, g.attempts, g.began, g.leased_at, g.error_code, coalesce(g.error_message, ''),
         seedcore.errors_of(g.id, g.attempts, g.error_code, g.error_message), g.decision::jsonb
  from gone g join said s on s.event = g.status where g.status = 'failed')
, told as (select seedcore.tell() from said limit 1)
"""

# What was refused; `except` hashes both sides, so a batch is not compared with itself.
_REFUSED = "select id from ack except select id from gone"

FINISH = f"with {_FINISH} select id from ({_REFUSED}) r where (select count(*) from told) >= 0"

# One statement, one commit, for a dispatcher's turn: end what ended, lease what is next. The rows without a token
# are the ends that were refused.
FINISH_AND_CLAIM = (
    f"with {_FINISH}, "
    + _CLAIM.format("$9", "$10", "$11", "$12", "$13", "$14", "$15")
    + _LEASED
    + """
where (select count(*) from told) >= 0
union all
select r.id, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
from (select id from ack except select id from gone) r
order by priority desc nulls last, seq
"""
)

STARTED = """
with said as (
  insert into seedcore.events (task_id, event, data)
  select l.id, 'started', jsonb_build_object('attempt', l.attempts) from seedcore.leases l
  join unnest($1::uuid[], $2::bigint[]) a(id, token) on l.id = a.id and l.token = a.token)
select seedcore.tell()
"""

PROGRESS = """
with said as (
  insert into seedcore.events (task_id, event, data)
  select l.id, 'progress', a.data::jsonb from seedcore.leases l
  join unnest($1::uuid[], $2::bigint[], $3::text[]) a(id, token, data) on l.id = a.id and l.token = a.token)
select seedcore.tell()
"""

RETRY = """
with again as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::text[], $5::text[])
    as a(id, token, delay_s, error_code, error_message))
, gone as (
  delete from seedcore.leases l using again a where l.id = a.id and l.token = a.token
  returning a.*, l.attempts, l.leased_at)
, later as (
  insert into seedcore.deferred (id, run_at, attempts)
  select id, now() + make_interval(secs => delay_s), attempts from gone)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'delay_s', round(delay_s::numeric, 3), 'code', error_code,
                                           'message', error_message, 'token', token, 'leased_at', leased_at) from gone)
, roused as (select count(pg_notify('seedcore_later', d.least::text)) from (select min(delay_s) as least from gone) d
             where d.least is not null)
, told as (select seedcore.tell())
select id from gone, told, roused
"""

# Given back unstarted: the attempt does not count. `slow` moves it to the slow lane, where it waits for a place.
RELEASE = """
with gone as (
  delete from seedcore.leases l using unnest($1::uuid[], $2::bigint[], $3::bool[]) a(id, token, slow)
  where l.id = a.id and l.token = a.token returning l.id, l.attempts, a.slow)
, back as (
  insert into seedcore.ready (id, queue, slow, rank, attempts)
  select g.id, t.queue, t.slow or g.slow, -t.priority, g.attempts - 1 from gone g join seedcore.tasks t on t.id = g.id
  returning queue, slow)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from back) d)
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
select id, seedcore.tell() from gone
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
  insert into seedcore.ready (id, queue, rank)
  select i.id, p.queue, -p.priority from input i, parent p where not (i.id = any($7::uuid[])))
, said as (
  insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from input)
select seedcore.wake(p.queue, false), seedcore.tell() from parent p
"""

PLAN_WAIT = "insert into seedcore.held (id, status, needs) values ($1, 'waiting', $2)"

# What ends bring about, for tasks with a parent or a key.
SETTLE = "select seedcore.settle($1::uuid[])"

# Results that a step's params are bound to; primary key finished (id).
RESULTS = "select id, result::text as result from seedcore.finished where id = any($1::uuid[]) and status = 'completed'"

# Index deferred_due; bounded, so that a wave of due tasks is taken in pages.
PROMOTE = """
with due as (
  delete from seedcore.deferred where ctid = any(array(
    select ctid from seedcore.deferred where run_at <= now() order by run_at limit $1 for update skip locked))
  returning id, attempts)
, seen as (select d.*, t.queue, t.slow, t.priority, t.limit_key from due d join seedcore.tasks t on t.id = d.id)
, moved as (
  insert into seedcore.ready (id, queue, slow, rank, attempts)
  select id, queue, slow, -priority, attempts from seen where limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank, attempts)
  select id, limit_key, queue, slow, -priority, attempts from seen where limit_key is not null)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from moved) d)
select count(*) from due, woken
"""

# The keys whose tasks wait, by a walk along index gated_order from key to key.
WAITING_KEYS = """
with recursive k as (
  (select key from seedcore.gated order by key limit 1)
  union all
  select (select g.key from seedcore.gated g where g.key > k.key order by g.key limit 1) from k where k.key is not null)
select array_agg(key) filter (where key is not null) from k
"""

ADMIT = "select seedcore.admit($1::text[])"

# A key whose limit was removed while tasks of it were deferred or running: one at a time, as a key nobody defined.
UNDEFINED_KEYS = """
insert into seedcore.limits (key, max_running)
select k.key, 1 from unnest($1::text[]) k(key) where not exists (select 1 from seedcore.limits l where l.key = k.key)
on conflict do nothing
"""

# -- sessions ----------------------------------------------------------------------------------------------

# A restarted actor's earlier session is over: its leases are reaped now, not after their time.
OPEN_SESSION = """
with before as (update seedcore.sessions set expires_at = now() where actor = $5 and id <> $1)
insert into seedcore.sessions (id, name, queue, expires_at, actor, schema_version)
values ($1, $2, $3, now() + make_interval(secs => $4), $5, $6)
on conflict (id) do update set expires_at = excluded.expires_at
"""

# One heartbeat a dispatcher; late but not yet reaped is in time. No `alive` row: the session was reaped, its leases are
# lost. The other rows are all leases of the session (index leases_owner) when $5 asks for them; `settled`: old enough
# that its claim must have been answered. `reaped` is false when nobody has done the reaper's work for a while.
PULSE = """
with beat as (
  update seedcore.sessions set expires_at = now() + make_interval(secs => $2), holding = $3,
         last_claim = case when $4 then now() else last_claim end
  where id = $1 returning id)
select id, null::bigint as token, exists (
         select 1 from seedcore.leaders where role = 'reaper' and expires_at > now()) as settled from beat
union all
select id, token, leased_at < now() - interval '5 seconds' from seedcore.leases where owner = $1 and $5
"""

CLOSE_SESSION = "delete from seedcore.sessions where id = $1"

# -- control -----------------------------------------------------------------------------------------------

# Cancel wins over a late completion: the lease goes, so its token is worth nothing. Children go with their parent.
CANCEL = """
with recursive family as (
  select id from seedcore.tasks where id = $1
  union all select t.id from seedcore.tasks t join family f on t.parent_id = f.id)
, a as (delete from seedcore.ready where id in (select id from family) returning id, attempts)
, b as (delete from seedcore.deferred where id in (select id from family) returning id, attempts)
, c as (delete from seedcore.held where id in (select id from family) returning id, attempts)
, e as (delete from seedcore.gated where id in (select id from family) returning id, attempts)
, d as (delete from seedcore.leases where id in (select id from family) returning id, attempts)
, gone as (select * from a union all select * from b union all select * from c union all select * from d union all
          select * from e)
, said as (
  insert into seedcore.events (event, task_ids) select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
, kept as (insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
           select id, tick, 'cancelled', attempts, 'cancelled', 'cancelled on request' from gone, said)
select id, seedcore.tell(), pg_notify('seedcore_cancel', id::text) from gone
"""

MOST_MOVES = 100

# Whether any of these tasks, or of the steps below them, has not ended: one that moved from table to table while a
# statement waited for it was in neither for that statement's snapshot.
LIVES = """
with recursive family as (
  select id from seedcore.tasks where id = any($1::uuid[])
  union all select t.id from seedcore.tasks t join family f on t.parent_id = f.id)
select exists (select 1 from family f where not exists (select 1 from seedcore.finished d where d.id = f.id)
                                        and not exists (select 1 from seedcore.dead x where x.id = f.id))
"""

# With all its attempts; a deadline that it missed is forgotten, what it failed of is not.
REQUEUE = """
with dead as (
  delete from seedcore.dead where id = any($1::uuid[])
  returning id, jsonb_build_object('attempt', attempts, 'code', error_code, 'message', error_message) as last)
, over as (delete from seedcore.finished where id = any($1::uuid[]) and status = 'cancelled' returning id)
, back as (select id, 'failed' as was, last from dead union all select id, 'cancelled', '{}' from over)
, seen as (
  update seedcore.tasks t set deadline = null from back b where t.id = b.id
  returning t.id, t.queue, t.slow, t.priority, t.limit_key, b.was, b.last)
, again as (
  insert into seedcore.ready (id, queue, slow, rank)
  select id, queue, slow, -priority from seen where limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank)
  select id, limit_key, queue, slow, -priority from seen where limit_key is not null returning id)
, said as (insert into seedcore.events (task_id, event, data)
           select id, 'retried', last || jsonb_build_object('by', 'request', 'was', was) from seen)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from again) d)
, roused as (select count(pg_notify('seedcore_later', '0')) from (select 1 from waits limit 1) w)
select id, seedcore.tell() from seen, woken, roused
"""

APPROVE = """
with freed as (delete from seedcore.held where id = $1 and status = 'approval' returning id, attempts, decision)
, noted as (update seedcore.tasks set approved = true where id in (select id from freed))
, again as (
  insert into seedcore.ready (id, queue, slow, rank, attempts)
  select t.id, t.queue, t.slow, -t.priority, f.attempts from freed f join seedcore.tasks t on t.id = f.id
  where t.limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank, attempts)
  select t.id, t.limit_key, t.queue, t.slow, -t.priority, f.attempts from freed f join seedcore.tasks t on t.id = f.id
  where t.limit_key is not null returning id)
, said as (insert into seedcore.events (task_id, event, data) select id, 'approval', '{"released": true}' from freed)
, woken as (select count(seedcore.wake(queue, slow)) from again)
, roused as (select count(pg_notify('seedcore_later', '0')) from waits)
select id, seedcore.tell() from freed, woken, roused
"""

REJECT = """
with freed as (delete from seedcore.held where id = $1 and status = 'approval' returning id, attempts, decision)
, said as (insert into seedcore.events (event, task_ids) select 'failed', array[id] from freed returning tick)
, kept as (
  insert into seedcore.dead (id, tick, attempts, error_code, error_message, errors, decision)
  select id, tick, attempts, 'approval_rejected', $2, seedcore.errors_of(id, attempts, 'approval_rejected', $2), decision
  from freed, said)
select id, seedcore.tell() from freed
"""

PAUSE = "insert into seedcore.paused (queue) values ($1) on conflict do nothing"

RESUME = """
with gone as (delete from seedcore.paused where queue = $1 returning queue)
select now() as at, count(pg_notify('seedcore_ready', seedcore.lane(g.queue, l.slow))) > 0 as was_paused
from gone g cross join (values (false), (true)) l(slow)
"""

# -- read --------------------------------------------------------------------------------------------------

STATE_COLUMNS = """
id, type, params::text as params, status, domain, priority, queue, idempotency_key, attempts, max_attempts, timeout_s,
coalesce(run_at, run_after) as run_after, created_at, started_at, finished_at, result::text as result, error_code,
error_message, decision::text as decision, parent_id, step, deadline, limit_key, errors::text as errors
"""

GET = f"select {STATE_COLUMNS} from seedcore.task_state where id = $1"

GET_MANY = f"select {STATE_COLUMNS} from seedcore.task_state where id = any($1::uuid[])"

CHILDREN = f"select {STATE_COLUMNS} from seedcore.task_state where parent_id = $1 order by id"

PLAN_OF = "select plan::text from seedcore.held where id = $1"

ENDED = "select id from seedcore.ended where id = any($1::uuid[])"

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
    from followed f join seedcore.ended d on d.id = f.task_id
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

# -- reap --------------------------------------------------------------------------------------------------

# Lead, as the one who does already or when that one said nothing for a while; and is there anything to do?
LEAD = """
with led as (
  insert into seedcore.leaders as l (role, owner, expires_at) values ('reaper', $1, now() + make_interval(secs => $2))
  on conflict (role) do update set owner = excluded.owner, expires_at = excluded.expires_at
  where l.owner = excluded.owner or l.expires_at <= now() returning owner)
select exists (select 1 from led) as leads,
       exists (select 1 from seedcore.sessions where expires_at <= now()) or exists (
         select 1 from seedcore.leases l where not exists (select 1 from seedcore.sessions s where s.id = l.owner)) as lost,
       exists (select 1 from seedcore.gated) as waits,
       extract(epoch from least((select min(run_at) from seedcore.deferred), (select min(next_at) from seedcore.limits),
                                (select min(at) from seedcore.deadlines),
                                (select min(next_at) from seedcore.schedules where not paused)) - now())::float8 as due_s
"""

RESIGN = "delete from seedcore.leaders where role = 'reaper' and owner = $1"

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
  select l.*, t.max_attempts, t.parent_id is not null or t.limit_key is not null as follow_up
  from lost l join seedcore.tasks t on t.id = l.id)
, again as (
  insert into seedcore.deferred (id, run_at, attempts)
  select id, now() + make_interval(secs => $2 * random()), attempts from seen where attempts < max_attempts)
, ended as (
  insert into seedcore.events (event, task_ids)
  select 'failed', array_agg(id) from seen where attempts >= max_attempts having count(*) > 0 returning tick)
, died as (
  insert into seedcore.dead (id, tick, token, attempts, began, started_at, error_code, error_message, errors)
  select id, tick, token, attempts, true, leased_at, 'lease_expired', 'the worker was lost on the last attempt',
         seedcore.errors_of(id, attempts, 'lease_expired', 'the worker was lost on the last attempt')
  from seen, ended where attempts >= max_attempts)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'code', 'lease_expired', 'token', token, 'leased_at', leased_at)
  from seen where attempts < max_attempts)
select id, attempts >= max_attempts as dead, follow_up, seedcore.tell() from seen
"""

# Index deadlines_at. `late` is false for a task that a person has run again since: its deadline no longer holds.
DUE = """
select d.id, coalesce(t.deadline is not null, false) as late
from seedcore.deadlines d left join seedcore.tasks t on t.id = d.id
where d.at <= now() order by d.at limit $1 for update of d skip locked
"""

DUE_DONE = "delete from seedcore.deadlines where id = any($1::uuid[])"

# Primary keys. A task that has not ended by its deadline ends as failed, and the steps below it with it.
CLOSE_LATE = """
with recursive late as (select unnest($1::uuid[]) as id)
, family as (
  select id, id as root from late
  union all select t.id, f.root from seedcore.tasks t join family f on t.parent_id = f.id)
, a as (delete from seedcore.ready where id in (select id from family) returning id, attempts)
, b as (delete from seedcore.deferred where id in (select id from family) returning id, attempts)
, c as (delete from seedcore.held where id in (select id from family) returning id, attempts)
, d as (delete from seedcore.leases where id in (select id from family) returning id, attempts)
, e as (delete from seedcore.gated where id in (select id from family) returning id, attempts)
, gone as (select * from a union all select * from b union all select * from c union all select * from d union all
          select * from e)
, said as (
  insert into seedcore.events (event, task_ids)
  select case when id in (select id from late) then 'failed' else 'cancelled' end, array_agg(id) from gone group by 1
  returning tick, event)
, died as (
  insert into seedcore.dead (id, tick, attempts, error_code, error_message, errors)
  select g.id, s.tick, g.attempts, 'deadline_exceeded', 'it had not ended by its deadline',
         seedcore.errors_of(g.id, g.attempts, 'deadline_exceeded', 'it had not ended by its deadline')
  from gone g, said s where s.event = 'failed' and g.id in (select id from late))
, ended as (
  insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
  select g.id, s.tick, 'cancelled', g.attempts, 'deadline_exceeded', 'its plan had not ended by its deadline'
  from gone g, said s where s.event = 'cancelled' and g.id not in (select id from late))
select g.id, seedcore.tell(), pg_notify('seedcore_cancel', g.id::text) from gone g
"""

# -- retention ---------------------------------------------------------------------------------------------

MAKE_PARTITIONS = "select seedcore.make_partitions((now() at time zone 'utc')::date, $1)"

# Days whose whole partition is older than $1 seconds.
OLD_PARTITIONS = """
select substring(c.relname from '_d([0-9]{8})$') as day from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = ('seedcore.' || $2::text)::regclass
  and c.relname ~ '_d[0-9]{8}$'
  and (to_date(substring(c.relname from '_d([0-9]{8})$'), 'YYYYMMDD') + 1)::timestamp at time zone 'utc'
      < now() - make_interval(secs => $1)
order by 1
"""

DROP_DAY = "select seedcore.drop_day($1::text, $2::float8)"

DROP_EVENTS = "select seedcore.drop_events($1::text)"

EXPIRE_EVENTS = """
delete from seedcore.events_default where ctid = any(array(
  select ctid from seedcore.events_default where at < now() - make_interval(secs => $1) limit $2))
"""

# A key lives as long as its task.
EXPIRE_KEYS = """
delete from seedcore.idempotency where ctid = any(array(
  select i.ctid from seedcore.idempotency i where i.created_at < now() - make_interval(secs => $1)
  and not exists (select 1 from seedcore.tasks t where t.id = i.task_id) order by i.created_at limit $2))
"""

# What outlived its day's partition; index finished_at of the default partition.
EXPIRE_FINISHED = """
with old as (
  delete from seedcore.finished_default where ctid = any(array(
    select ctid from seedcore.finished_default where finished_at < now() - make_interval(secs => $1) limit $2))
  returning id)
delete from seedcore.tasks where id in (select id from old)
"""

# Index dead_finished: failed tasks are kept longer, for people to look at.
EXPIRE_DEAD = """
with old as (
  delete from seedcore.dead where ctid = any(array(
    select ctid from seedcore.dead where finished_at < now() - make_interval(secs => $1) order by finished_at limit $2))
  returning id)
delete from seedcore.tasks where id in (select id from old)
"""
