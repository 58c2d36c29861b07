"""What the reaper does: take back lost leases, close what is late, let through what is due."""

from seedcore.stores.leading.leadership import lead
from seedcore.tasks.failure_codes import FailureCode

# Become or stay the leader, and look whether there is anything to do: one round trip.
LEAD = f"""
with led as ({lead("reaper")} returning owner)
select exists (select 1 from led) as leads,
       exists (select 1 from seedcore.sessions where expires_at <= now()) or exists (
         select 1 from seedcore.leases l where not exists (select 1 from seedcore.sessions s where s.id = l.owner)) as lost,
       exists (select 1 from seedcore.gated) as waits,
       extract(epoch from least((select min(run_at) from seedcore.deferred), (select min(next_at) from seedcore.limits),
                                (select min(at) from seedcore.deadlines), (select min(expires_at) from seedcore.held),
                                (select min(next_at) from seedcore.schedules where not paused)) - now())::float8 as due_s
"""

REAP_SESSIONS = "delete from seedcore.sessions where expires_at <= now() returning id, beat_at"

# How often the task of a lease `l` has used no attempt, because it had not begun when it was lost; index events_task.
_UNCOUNTED = """(select count(*) from seedcore.events e
              where e.task_id = l.id and e.event = 'retried' and e.data->'counted' = 'false')"""

# What is written of lost leases `seen`: the ends of those without attempts left, and that the others run again.
_ENDS = f""", ended as (
  insert into seedcore.events (event, task_ids)
  select 'failed', array_agg(id) from seen where dead having count(*) > 0 returning tick)
, died as (
  insert into seedcore.dead (id, tick, token, attempts, began, started_at, error_code, error_message, errors)
  select id, tick, token, attempts, true, leased_at, '{FailureCode.LEASE_EXPIRED}', 'the worker was lost on the last attempt',
         seedcore.errors_of(id, attempts, '{FailureCode.LEASE_EXPIRED}', 'the worker was lost on the last attempt')
  from seen, ended where dead)
, logged as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'code', '{FailureCode.LEASE_EXPIRED}', 'token', token, 'leased_at', leased_at)
         || case when unbegun then '{{"counted": false}}' else '{{}}' end::jsonb
  from seen where not dead)
"""

# Leases whose dispatcher has gone; index leases_owner. In pages of $1. $3 are sessions that have ended, $4 the time of
# each one's last heartbeat. A dispatcher writes `started` for every task that has begun: before it begins one that it has
# held for a second, and for the others with its next heartbeat. So a task that was leased two seconds before the last
# heartbeat and is not `started` (index events_task; ticks and tokens are of one sequence) has not begun, and uses no
# attempt: up to $5 times, for it may be what brings dispatchers down.
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
         and {_UNCOUNTED} < $5 as unbegun
  from lost l left join unnest($3::uuid[], $4::timestamptz[]) s(id, beat_at) on s.id = l.owner)
, seen as (
  select l.*, not unbegun and attempts >= t.max_attempts as dead,
         t.parent_id is not null or t.limit_key is not null as follow_up, t.queue, t.type
  from judged l cross join lateral (select * from seedcore.tasks where id = l.id offset 0) t)
, again as (
  insert into seedcore.deferred (id, run_at, attempts)
  select id, now() + make_interval(secs => $2 * random()), attempts - unbegun::int from seen where not dead)
{_ENDS}select id, dead, unbegun, follow_up, queue, type, seedcore.tell() from seen
"""

# The leases of a session, index leases_owner, a page of $2; what the reaper has in hand is its own.
OF_SESSION = """
select l.id, l.token, l.attempts, t.type from seedcore.leases l
cross join lateral (select type from seedcore.tasks where id = l.id offset 0) t
where l.owner = $1 limit $2 for update of l skip locked
"""

# Leases of a process that has ended, each with whether it had begun, and else the pause before its next attempt. One that
# had not begun is ready at once and uses no attempt, as often as $5 says. Primary key leases (id); the token fences.
TAKE_BACK = f"""
with lost as (
  delete from seedcore.leases l using unnest($1::uuid[], $2::bigint[], $3::bool[], $4::float8[]) a(id, token, begun, pause_s)
  where l.id between a.id and a.id and l.token = a.token
  returning l.id, l.token, l.attempts, l.leased_at, a.begun, a.pause_s)
, judged as (select l.*, not begun and {_UNCOUNTED} < $5 as unbegun from lost l)
, seen as (
  select l.*, not unbegun and attempts >= t.max_attempts as dead,
         t.parent_id is not null or t.limit_key is not null as follow_up, t.queue, t.type, t.slow, t.priority,
         t.tenant
  from judged l cross join lateral (select * from seedcore.tasks where id = l.id offset 0) t)
, back as (
  insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
  select id, queue, slow, -priority, attempts - 1, tenant from seen where unbegun returning queue, slow)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from back) d)
, again as (
  insert into seedcore.deferred (id, run_at, attempts)
  select id, now() + make_interval(secs => pause_s), attempts from seen where not dead and not unbegun)
, roused as (select count(pg_notify('seedcore_later', d.least::text))
             from (select min(pause_s) as least from seen where not dead and not unbegun) d where d.least is not null)
{_ENDS}select id, dead, unbegun, follow_up, queue, type, seedcore.tell() from seen, woken, roused
"""

# Index held_expires.
DUE_APPROVALS = """
select id, on_expiry = 'release' as released from seedcore.held
where expires_at <= now() and status = 'approval' order by expires_at limit $1 for update skip locked
"""

# Index deferred_due; bounded, so that a wave of due tasks is taken in pages.
PROMOTE = """
with due as (
  delete from seedcore.deferred where ctid = any(array(
    select ctid from seedcore.deferred where run_at <= now() order by run_at limit $1 for update skip locked))
  returning id, attempts)
, seen as (
  select d.*, t.queue, t.slow, t.priority, t.limit_key, t.limits, t.tenant
  from due d cross join lateral (select * from seedcore.tasks where id = d.id offset 0) t)
, moved as (
  insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
  select id, queue, slow, -priority, attempts, tenant from seen where limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank, attempts, tenant, limits)
  select id, limit_key, queue, slow, -priority, attempts, tenant, limits from seen where limit_key is not null)
, woken as (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from moved) d)
select count(*) from due, woken
"""

# Index deadlines_at. `late` is false for a task that a person has run again since: its deadline no longer holds.
DUE = """
select d.id, coalesce(t.deadline is not null, false) as late, t.queue, t.type
from seedcore.deadlines d left join lateral (select deadline, queue, type from seedcore.tasks where id = d.id offset 0) t on true
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
, logged as (
  insert into seedcore.events (event, task_ids)
  select case when id in (select id from late) then 'failed' else 'cancelled' end, array_agg(id) from gone group by 1
  returning tick, event)
, died as (
  insert into seedcore.dead (id, tick, attempts, error_code, error_message, errors)
  select g.id, s.tick, g.attempts, l.code, w.why, seedcore.errors_of(g.id, g.attempts, l.code, w.why)
  from gone g join late l on l.id = g.id cross join logged s
  cross join lateral (select case l.code when '{FailureCode.BUDGET_EXCEEDED}' then 'it had not ended within its budget''s time_s'
                                         else 'it had not ended by its deadline' end as why) w
  where s.event = 'failed')
, ended as (
  insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
  select g.id, s.tick, 'cancelled', g.attempts, '{FailureCode.DEADLINE_EXCEEDED}', 'its plan had not ended by its deadline'
  from gone g, logged s where s.event = 'cancelled' and g.id not in (select id from late))
, counted as (
  select count(seedcore.plan_ended(l.id, l.plan, false)) from late l join gone g on g.id = l.id where l.plan is not null)
select g.id, (select l.code from late l where l.id = g.id) as code, seedcore.tell(), pg_notify('seedcore_cancel', g.id::text) from gone g, counted
"""
