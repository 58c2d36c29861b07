"""The statements that tasks run by: submit, claim, end, put off, plan, and dispatchers' sessions."""

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
from taken k cross join lateral (select * from seedcore.tasks where id = k.id offset 0) t
"""

CLAIM = "with " + _CLAIM.format("$1", "$2", "$3", "$4", "$5", "$6", "$7") + _LEASED + "order by t.priority desc, k.seq"

# Primary key leases (id); the token fences. One event a status, not one a task. Failed tasks are the dead letters.
_FINISH = """
ack as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[])
    as a(id, token, status, result, error_code, error_message, decision, began))
, gone as (
  delete from seedcore.leases l using ack a where l.id between a.id and a.id and l.token = a.token
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
  join unnest($1::uuid[], $2::bigint[]) a(id, token) on l.id between a.id and a.id and l.token = a.token)
select seedcore.tell()
"""

PROGRESS = """
with said as (
  insert into seedcore.events (task_id, event, data)
  select l.id, 'progress', a.data::jsonb from seedcore.leases l
  join unnest($1::uuid[], $2::bigint[], $3::text[]) a(id, token, data) on l.id between a.id and a.id and l.token = a.token)
select seedcore.tell()
"""

RETRY = """
with again as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::text[], $5::text[])
    as a(id, token, delay_s, error_code, error_message))
, gone as (
  delete from seedcore.leases l using again a where l.id between a.id and a.id and l.token = a.token
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
  where l.id between a.id and a.id and l.token = a.token returning l.id, l.attempts, a.slow)
, back as (
  insert into seedcore.ready (id, queue, slow, rank, attempts)
  select g.id, t.queue, t.slow or g.slow, -t.priority, g.attempts - 1 from gone g
  cross join lateral (select * from seedcore.tasks where id = g.id offset 0) t returning queue, slow)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from back) d)
select id from gone, woken
"""

HOLD = """
with gone as (
  delete from seedcore.leases l using unnest($1::uuid[], $2::bigint[], $3::text[]) a(id, token, decision)
  where l.id between a.id and a.id and l.token = a.token
  returning l.id, l.attempts, a.decision, now() + make_interval(secs => $4::float8) as expires_at)
, kept as (
  insert into seedcore.held (id, status, attempts, decision, expires_at, on_expiry)
  select id, 'approval', attempts - 1, decision::jsonb, expires_at, case when expires_at is not null then $5::text end
  from gone)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'approval', jsonb_strip_nulls(jsonb_build_object('expires_at', expires_at, 'on_expiry', $5::text)) from gone)
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

# Before the steps are stored. A plan that is made anew keeps the time and what was spent since its first one. The task's
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
insert into seedcore.deadlines as d (id, at) select id, deadline from timed
on conflict (id) do update set at = least(d.at, excluded.at)
"""

# What a plan is made from: the earlier plan when it is to be made anew, and the recipe. Primary keys, and tasks_parent.
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

# Before the end or the retry of these attempts, in the same transaction; primary key leases (id), the token fences.
SPEND = """
insert into seedcore.usage (id, token, tokens, money)
select a.id, a.token, a.tokens, a.money
from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::float8[]) a(id, token, tokens, money)
join seedcore.leases l on l.id between a.id and a.id and l.token = a.token
on conflict (id, token) do nothing
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
, seen as (
  select d.*, t.queue, t.slow, t.priority, t.limit_key
  from due d cross join lateral (select * from seedcore.tasks where id = d.id offset 0) t)
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
