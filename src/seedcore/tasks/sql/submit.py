"""Submit tasks: plain, with the other options, and with idempotency keys."""

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
, logged as (insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from fresh having count(*) > 0)
, woken as (
  select count(seedcore.wake(d.queue, d.slow)) from (
    select distinct queue, slow from fresh where due and limit_key is null) d)
, rouse as (
  select count(pg_notify('seedcore_later', extract(epoch from c.at - now())::text)) from (
    select min(at) as at from (select run_at as at from later union all select now() from gated
                               union all select deadline from fresh where deadline is not null) m) c where c.at is not null)
, notified as (select seedcore.tell())
select f.id, now() as created_at from fresh f, woken, rouse, notified
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
, logged as (insert into seedcore.events (event, task_ids) select 'submitted', array_agg(id) from input)
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

# Primary keys idempotency (queue, key) and tasks (id). A statement of its own: its snapshot is newer.
FIRST_OF_KEYS = """
select a.n, t.id, t.type = a.type and t.params = a.params::jsonb as same
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality as a(queue, key, type, params, n)
join seedcore.idempotency i on i.queue = a.queue and i.key = a.key
join seedcore.tasks t on t.id = i.task_id
"""

# What `seedcore.enqueue` resolves options by. In the order of the keys, so that two gateways that start together never wait for each other in a circle.
PUBLISH_SETTINGS = """
insert into seedcore.settings as s (name, value)
select name, value from unnest($1::text[], $2::bigint[]) g(name, value) order by name
on conflict (name) do update set value = excluded.value where s.value <> excluded.value
"""

PUBLISH_SKILLS = """
insert into seedcore.skills as s (name, slow, max_attempts)
select name, slow, max_attempts from unnest($1::text[], $2::bool[], $3::smallint[]) g(name, slow, max_attempts)
order by name
on conflict (name) do update set slow = excluded.slow, max_attempts = excluded.max_attempts
where (s.slow, s.max_attempts) is distinct from (excluded.slow, excluded.max_attempts)
"""
