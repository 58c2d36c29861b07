"""Retention: make partitions ahead of time, drop old ones, delete what outlived its partition."""

# Before statements with strong locks: one that waits for a long transaction makes all later ones wait behind it.
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

# Index move_outcomes_at.
EXPIRE_MOVES = """
delete from seedcore.move_outcomes where ctid = any(array(
  select ctid from seedcore.move_outcomes where at < now() - make_interval(secs => $1) order by at limit $2))
"""

# Of the audit log, which is append-only but for this function.
FORGET_AUDIT = "select seedcore.forget_audit($1::float8)"

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
