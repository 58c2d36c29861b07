"""What a lease's holder writes before the end: started, progress, retry, release, hold."""

STARTED = """
with logged as (
  insert into seedcore.events (task_id, event, data)
  select l.id, 'started', jsonb_build_object('attempt', l.attempts) from seedcore.leases l
  join unnest($1::uuid[], $2::bigint[]) a(id, token) on l.id between a.id and a.id and l.token = a.token)
select seedcore.tell()
"""

PROGRESS = """
with logged as (
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
, logged as (
  insert into seedcore.events (task_id, event, data)
  select id, 'retried', jsonb_build_object('attempt', attempts, 'delay_s', round(delay_s::numeric, 3), 'code', error_code,
                                           'message', error_message, 'token', token, 'leased_at', leased_at) from gone)
, roused as (select count(pg_notify('seedcore_later', d.least::text)) from (select min(delay_s) as least from gone) d
             where d.least is not null)
, notified as (select seedcore.tell())
select id from gone, notified, roused
"""

# Released without a start: the attempt does not count. `slow` moves it to the slow lane, where it waits for a place.
RELEASE = """
with gone as (
  delete from seedcore.leases l using unnest($1::uuid[], $2::bigint[], $3::bool[]) a(id, token, slow)
  where l.id between a.id and a.id and l.token = a.token returning l.id, l.attempts, a.slow)
, back as (
  insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
  select g.id, t.queue, t.slow or g.slow, -t.priority, g.attempts - 1, t.tenant from gone g
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
, logged as (
  insert into seedcore.events (task_id, event, data)
  select id, 'approval', jsonb_strip_nulls(jsonb_build_object('expires_at', expires_at, 'on_expiry', $5::text)) from gone)
select id, seedcore.tell() from gone
"""
