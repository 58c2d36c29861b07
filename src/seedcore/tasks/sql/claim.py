"""Claim a batch: take rows of `ready` in order, lease them under a new token, and read the tasks."""

# Index ready_turns gives the order, from the places that `claims.claim_cursor` has reached; the delete is a TID scan;
# sessions by primary key: a dispatcher whose session was reaped while it slept gets nothing. Placeholders: {0} queue,
# {1} session, {2} limit, {3} lane, {4} to {8} places.
_MAY_CLAIM = """exists (select 1 from seedcore.sessions s where s.id = {1} and s.expires_at > now())
      and not exists (select 1 from seedcore.paused p where p.queue = {0})"""
_IN_ORDER = """
    select r.ctid from unnest({4}::smallint[], {5}::text[], {6}::bigint[], {7}::smallint[], {8}::text[])
      as w(rank, tenant, seq, until, until_tenant)
    cross join lateral (
      select c.ctid from seedcore.ready c
      where c.queue = {0} and c.slow = {3} and (c.rank, c.tenant, c.seq) > (w.rank, w.tenant, w.seq)
        and (c.rank, c.tenant, c.seq) < (w.until, w.until_tenant, 0)
      order by c.rank, c.tenant, c.seq limit {2} for update skip locked) r"""

TAKE_AND_LEASE = f"""
taken as (
  delete from seedcore.ready where ctid = any(array({_IN_ORDER}
    where {_MAY_CLAIM} limit {{2}}))
  returning id, seq, attempts + 1 as attempt, nextval('seedcore.ticks') as token)
, leased as (
  insert into seedcore.leases (id, token, owner, attempts) select id, token, {{1}}, attempt from taken)
"""

# In turns, {9} to {15}: ranges with quotas. The first {16} of them are of aged tasks, of which {17} are taken; the others
# follow in the order of the turns. When they have too few, the rest is taken in order: what is deleted by then is passed
# over by `for update`.
_RANGES = """unnest({9}::smallint[], {10}::text[], {11}::bigint[], {12}::smallint[], {13}::text[], {14}::bigint[], {15}::int[])
      with ordinality as w(rank, tenant, seq, until, until_tenant, until_seq, quota, n)
    cross join lateral (
      select c.ctid from seedcore.ready c
      where c.queue = {0} and c.slow = {3} and (c.rank, c.tenant, c.seq) > (w.rank, w.tenant, w.seq)
        and (c.rank, c.tenant, c.seq) < (w.until, w.until_tenant, w.until_seq)
      order by c.rank, c.tenant, c.seq limit w.quota for update skip locked) r"""

TAKE_IN_TURNS_AND_LEASE = f"""
in_turn as (
  delete from seedcore.ready where ctid = any(array(
    select a.ctid from (
      (select r.ctid from {_RANGES} where w.n <= {{16}} limit {{17}})
      union all
      (select r.ctid from {_RANGES} where w.n > {{16}})) a
    where {_MAY_CLAIM} limit {{2}}))
  returning id, seq, attempts)
, filled as (
  delete from seedcore.ready where ctid = any(array({_IN_ORDER}
    where {_MAY_CLAIM} limit {{2}} - (select count(*) from in_turn)))
  returning id, seq, attempts)
, taken as materialized (
  select id, seq, attempts + 1 as attempt, nextval('seedcore.ticks') as token
  from (select * from in_turn union all select * from filled) b)
, leased as (
  insert into seedcore.leases (id, token, owner, attempts) select id, token, {{1}}, attempt from taken)
"""

# Which priorities and tenants have ready tasks: from head to head, each place behind what is known to be gone.
SURVEY = """
select h.rank, h.tenant, h.seq, (select last_value from seedcore.ready_seq_seq) as last_seq
from unnest($3::smallint[], $4::text[], $5::bigint[], $6::smallint[], $7::text[])
  as w(rank, tenant, seq, until, until_tenant)
cross join lateral (
  with recursive s as (
    (select c.rank, c.tenant, c.seq from seedcore.ready c
     where c.queue = $1 and c.slow = $2 and (c.rank, c.tenant, c.seq) > (w.rank, w.tenant, w.seq)
       and (c.rank, c.tenant, c.seq) < (w.until, w.until_tenant, 0)
     order by c.rank, c.tenant, c.seq limit 1)
    union all
    select n.rank, n.tenant, n.seq from s cross join lateral (
      select c.rank, c.tenant, c.seq from seedcore.ready c
      where c.queue = $1 and c.slow = $2 and (c.rank, c.tenant, c.seq) > (s.rank, s.tenant, 9223372036854775807)
        and (c.rank, c.tenant, c.seq) < (w.until, w.until_tenant, 0)
      order by c.rank, c.tenant, c.seq limit 1) n)
  select * from s) h
limit $8
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


def _claim(take: str, parameters: int) -> str:
    taken = take.format(*(f"${n}" for n in range(1, parameters + 1)))
    return f"with {taken}{LEASED_TASKS}order by t.priority desc, k.seq"


CLAIM = _claim(TAKE_AND_LEASE, 9)
CLAIM_IN_TURNS = _claim(TAKE_IN_TURNS_AND_LEASE, 18)
