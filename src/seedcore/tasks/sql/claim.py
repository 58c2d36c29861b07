"""Claim a batch: take rows of `ready` in order, lease them under a new token, and read the tasks."""

# Index ready_order gives the order, from the places that `tasks.claim_cursor` has reached; the delete is a TID scan;
# sessions by primary key: a dispatcher whose session was reaped while it slept gets nothing. Placeholders: {0} queue,
# {1} session, {2} limit, {3} lane, {4} to {6} places.
TAKE_AND_LEASE = """
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
LEASED_TASKS = """
select k.id, k.token, k.attempt, t.type, t.params::text as params, t.bindings::text as bindings, t.queue,
       t.slow, t.domain, t.priority, t.max_attempts, t.timeout_s, t.limit_key, t.idempotency_key, t.parent_id, t.approved, t.created_at, k.seq,
       t.tenant, t.traceparent, t.run_after,
       extract(epoch from t.deadline - now())::float8 as left_s
from taken k cross join lateral (select * from seedcore.tasks where id = k.id offset 0) t
"""

CLAIM = (
    "with "
    + TAKE_AND_LEASE.format("$1", "$2", "$3", "$4", "$5", "$6", "$7")
    + LEASED_TASKS
    + "order by t.priority desc, k.seq"
)
