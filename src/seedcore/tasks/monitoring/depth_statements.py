"""Depths for monitoring: bounded, whatever waits. Run with ENGINE_SESSION: every step is a probe of an index."""

MAX_GROUPS, MAX_COUNTED, MAX_EACH, MAX_TYPED, MAX_OTHERS = 1000, 30_000, 10_000, 3_000, 10_000
"""Groups (queue, lane, priority, tenant); rows counted in all, and of one group; rows whose type is looked up; rows
counted of other tables."""

# Index ready_turns: `heads` jumps from group to group. A group that is counted to its end is exact; the others together
# are what the server's statistics say is left. `oldest_s` is of the head of each group, which came first.
READY = f"""
with recursive heads as (
  (select queue, slow, rank, tenant, id from seedcore.ready order by queue, slow, rank, tenant, seq limit 1)
  union all
  select n.* from heads h cross join lateral (
    select r.queue, r.slow, r.rank, r.tenant, r.id from seedcore.ready r
    where (r.queue, r.slow, r.rank, r.tenant) > (h.queue, h.slow, h.rank, h.tenant)
    order by r.queue, r.slow, r.rank, r.tenant, r.seq limit 1) n)
, found as materialized (select * from heads limit {MAX_GROUPS})
, sized as materialized (
  select greatest(100, least({MAX_EACH}, {MAX_COUNTED} / greatest(count(*), 1))) as counted,
         greatest(10, {MAX_TYPED} / greatest(count(*), 1)) as typed from found)
, counted as (
  select f.*, c.n, c.n = (select counted from sized) as more,
         extract(epoch from now() - (
           select greatest(t.created_at, t.run_after) from seedcore.tasks t where t.id = f.id))::float8 as oldest_s
  from found f cross join lateral (
    select count(*) as n from (
      select 1 from seedcore.ready r
      where r.queue = f.queue and r.slow = f.slow and r.rank = f.rank and r.tenant = f.tenant
      limit (select counted from sized)) x) c)
, seen as (
  select f.queue, f.tenant, t.type from found f
  cross join lateral (
    select r.id from seedcore.ready r
    where r.queue = f.queue and r.slow = f.slow and r.rank = f.rank and r.tenant = f.tenant
    order by r.seq limit (select typed from sized)) i
  cross join lateral (select type from seedcore.tasks where id = i.id offset 0) t)
select 'group' as kind, queue, tenant, null as type, sum(n)::float8 as n, sum(more::int)::float8 as more,
       max(oldest_s) as oldest_s
from counted group by queue, tenant
union all
select 'type', queue, tenant, type, count(*)::float8, 0, null from seen group by queue, tenant, type
union all select 'live', '', '', null, pg_stat_get_live_tuples('seedcore.ready'::regclass)::float8, 0, null
"""

# Primary key tasks (id) for each of a bounded page.
LATER = f"""
select 'deferred' as state, t.queue, count(*)::float8 as n from (select id from seedcore.deferred limit {MAX_TYPED}) d
cross join lateral (select queue from seedcore.tasks where id = d.id offset 0) t group by t.queue
union all
select 'gated', queue, count(*)::float8 from (select queue from seedcore.gated limit {MAX_OTHERS}) g group by queue
"""

# `leases` is bounded by what workers have room for.
TOTALS = f"""
select (select count(*) from seedcore.leases) as running,
       (select count(*) from (select 1 from seedcore.held where status = 'waiting' limit {MAX_OTHERS}) h) as waiting,
       (select count(*) from (select 1 from seedcore.held where status = 'approval' limit {MAX_OTHERS}) h) as approval,
       (select count(*) from (select 1 from seedcore.dead limit {MAX_OTHERS}) d) as dead,
       pg_stat_get_live_tuples('seedcore.dead'::regclass) as dead_live
"""

DISPATCHERS = "select queue, count(*)::float8 as n from seedcore.sessions where expires_at > now() group by queue"
