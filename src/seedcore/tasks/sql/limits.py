"""Limits by key: define them, let waiting tasks through, read them."""

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
