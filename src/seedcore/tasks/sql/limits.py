"""Limits by key: define them, let waiting tasks through, read them. Weights of tenants."""

# Primary key limits (key), in order, so that two submitters never wait for each other in a circle.
SET_LIMITS = """
select count(seedcore.set_limit(key, running, per_s, burst)) from (
  select * from unnest($1::text[], $2::int[], $3::float8[], $4::int[]) as l(key, running, per_s, burst) order by key) o
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

# Let others of these tasks' keys through.
ADMIT_AFTER = """
select seedcore.admit(array(
  select t.limit_key from seedcore.tasks t where t.id = any($1::uuid[]) and t.limit_key is not null
  union select l->>'key' from seedcore.tasks t cross join lateral jsonb_array_elements(t.limits) l
  where t.id = any($1::uuid[])))
"""

# A key whose limit was removed while tasks of it were deferred or running: one at a time, as for an undefined key.
UNDEFINED_KEYS = """
insert into seedcore.limits (key, max_running)
select k.key, 1 from unnest($1::text[]) k(key) where not exists (select 1 from seedcore.limits l where l.key = k.key)
on conflict do nothing
"""

# Primary key limits (key).
_COLUMNS = """
l.key, l.max_running, l.rate_per_s, l.burst,
(select count(*) from (select 1 from seedcore.admitted a where a.key = l.key limit 10000) r) as running,
(select count(*) from (select 1 from seedcore.gated g where g.key = l.key limit 10000) w) as waiting
"""

PUT = """
insert into seedcore.limits as l (key, max_running, rate_per_s, burst, tokens) values ($1, $2, $3, $4::int, $4::int)
on conflict (key) do update set max_running = excluded.max_running, rate_per_s = excluded.rate_per_s,
  burst = excluded.burst, tokens = least(l.tokens, excluded.burst)
"""

GET = f"select {_COLUMNS} from seedcore.limits l where l.key = $1"

FIND = f"select {_COLUMNS} from seedcore.limits l where l.key > $1 order by l.key limit $2"

# Those that are `default`'s own, and those of another tenant ($3), which index limits_tenant has.
FIND_DEFAULT = f"""
select {_COLUMNS} from seedcore.limits l where l.key > $1 and position(E'\\x1f' in l.key) = 0 order by l.key limit $2
"""

FIND_OF_TENANT = f"""
select {_COLUMNS} from seedcore.limits l
where position(E'\\x1f' in l.key) > 0 and split_part(l.key, E'\\x1f', 1) = $3 and l.key > $1 order by l.key limit $2
"""

LOCK = "select 1 from seedcore.limits where key = $1 for update"

REMOVE = "delete from seedcore.limits where key = $1"

# Primary key tenants (name).
WEIGHTS = "select name, weight from seedcore.tenants where name = any($1::text[])"

# Index ready_turns, from head to head; $3 heads at most, and of each $4 rows are counted.
FIND_TENANTS = """
with recursive h as (
  (select queue, slow, rank, tenant, 1 as n from seedcore.ready order by queue, slow, rank, tenant, seq limit 1)
  union all
  select c.queue, c.slow, c.rank, c.tenant, h.n + 1 from h cross join lateral (
    select r.queue, r.slow, r.rank, r.tenant from seedcore.ready r
    where (r.queue, r.slow, r.rank, r.tenant, r.seq) > (h.queue, h.slow, h.rank, h.tenant, 9223372036854775807)
    order by r.queue, r.slow, r.rank, r.tenant, r.seq limit 1) c
  where h.n < $3)
, deep as (
  select h.tenant as name, sum(d.depth)::bigint as ready from h cross join lateral (
    select count(*) as depth from (
      select 1 from seedcore.ready r
      where r.queue = h.queue and r.slow = h.slow and r.rank = h.rank and r.tenant = h.tenant limit $4) m) d
  group by h.tenant)
select name, coalesce(t.weight, 1) as weight, coalesce(d.ready, 0) as ready
from (select name from deep union select name from seedcore.tenants) n
left join deep d using (name) left join seedcore.tenants t using (name)
where name collate "C" > $1 order by name collate "C" limit $2
"""

PUT_WEIGHT = """
insert into seedcore.tenants (name, weight) values ($1, $2)
on conflict (name) do update set weight = excluded.weight
"""
