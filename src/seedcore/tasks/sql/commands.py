"""What people do to tasks and queues: cancel, retry, approve, reject, pause, resume."""

from seedcore.tasks.failure_codes import FailureCode

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
, logged as (
  insert into seedcore.events (event, task_ids) select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
, kept as (insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
           select id, tick, 'cancelled', attempts, '{FailureCode.CANCELLED}', 'cancelled on request' from gone, logged)
select id, seedcore.tell(), pg_notify('seedcore_cancel', id::text) from gone
"""

MAX_MOVES = 100
"""Times that a statement is repeated because a task moved from one table to another meanwhile."""

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
  returning t.id, t.queue, t.slow, t.priority, t.tenant, t.limit_key, t.limits, b.was, b.last)
, again as (
  insert into seedcore.ready (id, queue, slow, rank, tenant)
  select id, queue, slow, -priority, tenant from seen where limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank, tenant, limits)
  select id, limit_key, queue, slow, -priority, tenant, limits from seen where limit_key is not null returning id)
, forgotten as (delete from seedcore.plans where id in (select id from seen))
, logged as (insert into seedcore.events (task_id, event, data)
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
  insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
  select t.id, t.queue, t.slow, -t.priority, f.attempts, t.tenant from freed f
  cross join lateral (select * from seedcore.tasks where id = f.id offset 0) t
  where t.limit_key is null returning queue, slow)
, waits as (
  insert into seedcore.gated (id, key, queue, slow, rank, attempts, tenant, limits)
  select t.id, t.limit_key, t.queue, t.slow, -t.priority, f.attempts, t.tenant, t.limits from freed f
  cross join lateral (select * from seedcore.tasks where id = f.id offset 0) t
  where t.limit_key is not null returning id)
, logged as (
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
, logged as (
  insert into seedcore.events (event, task_ids)
  select 'failed', array_agg(task_id) from noted having count(*) > 0 returning tick)
, kept as (
  insert into seedcore.dead (id, tick, attempts, error_code, error_message, errors, decision)
  select id, tick, attempts, $4::text, $5::text, seedcore.errors_of(id, attempts, $4::text, $5::text), decision
  from freed, logged)
select id, seedcore.tell() from freed
"""

PAUSE = "insert into seedcore.paused (queue) values ($1) on conflict do nothing"

RESUME = """
with gone as (delete from seedcore.paused where queue = $1 returning queue)
select now() as at, count(pg_notify('seedcore_ready', seedcore.lane(g.queue, l.slow))) > 0 as was_paused
from gone g cross join (values (false), (true)) l(slow)
"""
