"""The statements of people (cancel, retry, approve, pause) and of the reaper."""

from seedcore.tasks.failure_codes import FailureCode

# -- control -----------------------------------------------------------------------------------------------

# Cancel wins over a late completion: the lease goes, so its token is worth nothing. Children go with their parent.
CANCEL = f"""
with recursive family as (
  select id from seedcore.tasks where id = $1
  union all select t.id from seedcore.tasks t join family f on t.parent_id = f.id)
, a as (delete from seedcore.ready where id = any(array(select id from family)) returning id, attempts)
, b as (delete from seedcore.deferred where id = any(array(select id from family)) returning id, attempts)
, c as (delete from seedcore.held where id = any(array(select id from family)) returning id, attempts)
, e as (delete from seedcore.gated where id = any(array(select id from family)) returning id, attempts)
, d as (delete from seedcore.leases where id = any(array(select id from family)) returning id, attempts)
, gone as (select * from a union all select * from b union all select * from c union all select * from d union all
          select * from e)
, said as (
  insert into seedcore.events (event, task_ids) select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
, kept as (insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
           select id, tick, 'cancelled', attempts, '{FailureCode.CANCELLED}', 'cancelled on request' from gone, said)
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
, anew as (delete from seedcore.plans where id in (select id from seen))
, said as (insert into seedcore.events (task_id, event, data)
           select id, 'retried', last || jsonb_build_object('by', 'request', 'was', was) from seen)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from again) d)
, roused as (select count(pg_notify('seedcore_later', '0')) from (select 1 from waits limit 1) w)
select id, seedcore.tell() from seen, woken, roused
"""

# Who released ($2: a name, or null) and how ($3) stand in the event.
APPROVE = """
with freed as (
  delete from seedcore.held where id = any($1::uuid[]) and status = 'approval' returning id, attempts, decision)
, noted as (update seedcore.tasks set approved = true where id = any(array(select id from freed)))
, again as (
  insert into seedcore.ready (id, queue, slow, rank, attempts)
  select t.id, t.queue, t.slow, -t.priority, f.attempts from freed f
  cross join lateral (select * from seedcore.tasks where id = f.id offset 0) t
  where t.limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank, attempts)
  select t.id, t.limit_key, t.queue, t.slow, -t.priority, f.attempts from freed f
  cross join lateral (select * from seedcore.tasks where id = f.id offset 0) t
  where t.limit_key is not null returning id)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'approval', jsonb_strip_nulls(jsonb_build_object('released', true, 'by', $2::text, 'how', $3::text)) from freed)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from again) d)
, roused as (select count(pg_notify('seedcore_later', '0')) from (select 1 from waits limit 1) w)
select id, seedcore.tell() from freed, woken, roused
"""

# As above; $4 is the error's code, $5 its message.
REJECT = """
with freed as (
  delete from seedcore.held where id = any($1::uuid[]) and status = 'approval' returning id, attempts, decision)
, noted as (
  insert into seedcore.events (task_id, event, data)
  select id, 'approval', jsonb_strip_nulls(jsonb_build_object('released', false, 'by', $2::text, 'how', $3::text))
  from freed returning task_id)
, said as (
  insert into seedcore.events (event, task_ids)
  select 'failed', array_agg(task_id) from noted having count(*) > 0 returning tick)
, kept as (
  insert into seedcore.dead (id, tick, attempts, error_code, error_message, errors, decision)
  select id, tick, attempts, $4::text, $5::text, seedcore.errors_of(id, attempts, $4::text, $5::text), decision
  from freed, said)
select id, seedcore.tell() from freed
"""

# Index held_expires.
DUE_APPROVALS = """
select id, on_expiry = 'release' as released from seedcore.held
where expires_at <= now() and status = 'approval' order by expires_at limit $1 for update skip locked
"""

PAUSE = "insert into seedcore.paused (queue) values ($1) on conflict do nothing"

RESUME = """
with gone as (delete from seedcore.paused where queue = $1 returning queue)
select now() as at, count(pg_notify('seedcore_ready', seedcore.lane(g.queue, l.slow))) > 0 as was_paused
from gone g cross join (values (false), (true)) l(slow)
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
                                (select min(at) from seedcore.deadlines), (select min(expires_at) from seedcore.held),
                                (select min(next_at) from seedcore.schedules where not paused)) - now())::float8 as due_s
"""

RESIGN = "delete from seedcore.leaders where role = 'reaper' and owner = $1"

REAP_SESSIONS = "delete from seedcore.sessions where expires_at <= now() returning id, beat_at"

# Leases whose dispatcher has gone; index leases_owner. In pages: $1 at once. $3 are sessions that have ended, $4 when each
# was last heard of. A dispatcher says of every task that has begun that it has: before it begins one that it has held for
# a second, and of the others with its next heartbeat. So what was leased two seconds before the last heartbeat, and is not
# `started` (index events_task; ticks and tokens are of one sequence), has not begun, and uses no attempt: $5 times at
# most, for it may be what brings dispatchers down.
REAP_LEASES = f"""
with lost as (
  delete from seedcore.leases where ctid = any(array(
    select l.ctid from seedcore.leases l
    where not exists (select 1 from seedcore.sessions s where s.id = l.owner)
    limit $1 for update skip locked))
  returning id, token, owner, attempts, leased_at)
, judged as (
  select l.*, coalesce(s.beat_at > l.leased_at + interval '2 seconds', false)
         and not exists (select 1 from seedcore.events e where e.task_id = l.id and e.tick > l.token and e.event = 'started')
         and (select count(*) from seedcore.events e
              where e.task_id = l.id and e.event = 'retried' and e.data->'counted' = 'false') < $5 as unbegun
  from lost l left join unnest($3::uuid[], $4::timestamptz[]) s(id, beat_at) on s.id = l.owner)
, seen as (
  select l.*, not unbegun and attempts >= t.max_attempts as dead,
         t.parent_id is not null or t.limit_key is not null as follow_up
  from judged l cross join lateral (select * from seedcore.tasks where id = l.id offset 0) t)
, again as (
  insert into seedcore.deferred (id, run_at, attempts)
  select id, now() + make_interval(secs => $2 * random()), attempts - unbegun::int from seen where not dead)
, ended as (
  insert into seedcore.events (event, task_ids)
  select 'failed', array_agg(id) from seen where dead having count(*) > 0 returning tick)
, died as (
  insert into seedcore.dead (id, tick, token, attempts, began, started_at, error_code, error_message, errors)
  select id, tick, token, attempts, true, leased_at, '{FailureCode.LEASE_EXPIRED}', 'the worker was lost on the last attempt',
         seedcore.errors_of(id, attempts, '{FailureCode.LEASE_EXPIRED}', 'the worker was lost on the last attempt')
  from seen, ended where dead)
, said as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'code', '{FailureCode.LEASE_EXPIRED}', 'token', token, 'leased_at', leased_at)
         || case when unbegun then '{{"counted": false}}' else '{{}}' end::jsonb
  from seen where not dead)
select id, dead, unbegun, follow_up, seedcore.tell() from seen
"""

# Index deadlines_at. `late` is false for a task that a person has run again since: its deadline no longer holds.
DUE = """
select d.id, coalesce(t.deadline is not null, false) as late
from seedcore.deadlines d left join lateral (select deadline from seedcore.tasks where id = d.id offset 0) t on true
where d.at <= now() order by d.at limit $1 for update of d skip locked
"""

DUE_DONE = "delete from seedcore.deadlines where id = any($1::uuid[])"

# Primary keys. A task that has not ended by its deadline ends as failed, and the steps below it with it. The deadline may
# be that of its budget.
CLOSE_LATE = f"""
with recursive late as (
  select i.id, h.plan, case when p.until <= now() and t.deadline >= p.until then '{FailureCode.BUDGET_EXCEEDED}' else '{FailureCode.DEADLINE_EXCEEDED}'
           end as code
  from unnest($1::uuid[]) i(id) cross join lateral (select * from seedcore.tasks where id = i.id offset 0) t
  left join seedcore.plans p on p.id = i.id
  left join lateral (select plan from seedcore.held where id = i.id offset 0) h on true)
, family as (
  select id, id as root from late
  union all select t.id, f.root from seedcore.tasks t join family f on t.parent_id = f.id)
, a as (delete from seedcore.ready where id = any(array(select id from family)) returning id, attempts)
, b as (delete from seedcore.deferred where id = any(array(select id from family)) returning id, attempts)
, c as (delete from seedcore.held where id = any(array(select id from family)) returning id, attempts)
, d as (delete from seedcore.leases where id = any(array(select id from family)) returning id, attempts)
, e as (delete from seedcore.gated where id = any(array(select id from family)) returning id, attempts)
, gone as (select * from a union all select * from b union all select * from c union all select * from d union all
          select * from e)
, said as (
  insert into seedcore.events (event, task_ids)
  select case when id in (select id from late) then 'failed' else 'cancelled' end, array_agg(id) from gone group by 1
  returning tick, event)
, died as (
  insert into seedcore.dead (id, tick, attempts, error_code, error_message, errors)
  select g.id, s.tick, g.attempts, l.code, w.why, seedcore.errors_of(g.id, g.attempts, l.code, w.why)
  from gone g join late l on l.id = g.id cross join said s
  cross join lateral (select case l.code when '{FailureCode.BUDGET_EXCEEDED}' then 'it had not ended within its budget''s time_s'
                                         else 'it had not ended by its deadline' end as why) w
  where s.event = 'failed')
, ended as (
  insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
  select g.id, s.tick, 'cancelled', g.attempts, '{FailureCode.DEADLINE_EXCEEDED}', 'its plan had not ended by its deadline'
  from gone g, said s where s.event = 'cancelled' and g.id not in (select id from late))
, counted as (
  select count(seedcore.plan_ended(l.id, l.plan, false)) from late l join gone g on g.id = l.id where l.plan is not null)
select g.id, seedcore.tell(), pg_notify('seedcore_cancel', g.id::text) from gone g, counted
"""

# -- retention ---------------------------------------------------------------------------------------------

# Before what takes strong locks: who has to wait for a long transaction makes everybody who comes later wait behind it.
HURRY = "set local lock_timeout = '500ms'"

# Attaching locks the default partition. Days are made long before they come: putting one off does no harm.
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

# What plans leave behind; indexes plans_since, usage_at, plan_ends_at.
EXPIRE_PLANS = """
delete from seedcore.plans where ctid = any(array(
  select p.ctid from seedcore.plans p where p.since < now() - make_interval(secs => $1)
  and not exists (select 1 from seedcore.tasks t where t.id = p.id) order by p.since limit $2))
"""

EXPIRE_USAGE = """
delete from seedcore.usage where ctid = any(array(
  select u.ctid from seedcore.usage u where u.at < now() - make_interval(secs => $1)
  and not exists (select 1 from seedcore.tasks t where t.id = u.id) order by u.at limit $2))
"""

EXPIRE_PLAN_ENDS = """
delete from seedcore.plan_ends where ctid = any(array(
  select ctid from seedcore.plan_ends where at < now() - make_interval(secs => $1) order by at limit $2))
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
