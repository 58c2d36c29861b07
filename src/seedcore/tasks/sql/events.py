"""Events: of single tasks for their followers, and the log of all."""

# Ids of events are four times a tick plus a rank below four; that of `submitted` is 1.
LAST_EVENT_ID = "select last_value * 4 + 3 from seedcore.ticks"

# What happened to the tasks followed ($1), after the event that each follower saw last ($2). An event's id is four times
# its tick (or its lease's token, of the same sequence) plus its rank. Primary keys, and index events_task.
EVENTS = """
with followed as materialized (select * from unnest($1::uuid[], $2::bigint[]) a(task_id, after))
, found as (
  select t.id as task_id, 1::bigint as id, 'submitted' as event, t.created_at as at,
         case when t.submitted_by is null then '{}' else jsonb_build_object('by', t.submitted_by) end as data
    from followed f cross join lateral (select * from seedcore.tasks where id = f.task_id offset 0) t where f.after < 1
  union all
  select l.id, l.token * 4, 'leased', l.leased_at, jsonb_build_object('attempt', l.attempts)
    from followed f cross join lateral (select * from seedcore.leases where id = f.task_id offset 0) l
  union all
  select d.id, x.id, x.event, x.at, x.data
    from followed f cross join lateral (select * from seedcore.ended where id = f.task_id offset 0) d
    cross join lateral (values
      (d.token * 4, 'leased', d.started_at, jsonb_build_object('attempt', d.attempts), d.token is not null),
      (d.token * 4 + 1, 'started', d.started_at, jsonb_build_object('attempt', d.attempts), d.began),
      -- Its last event comes last, whatever was written late: followers of a task never look back.
      (greatest(d.tick, (select max(e.tick) from seedcore.events e where e.task_id = d.id)) * 4 + 3, d.status, d.finished_at,
       jsonb_strip_nulls(jsonb_build_object('code', d.error_code, 'message', d.error_message)), true)
    ) x(id, event, at, data, happened) where x.happened
  union all
  select e.task_id, x.id, x.event, x.at, x.data
    from followed f cross join lateral (select * from seedcore.events where task_id = f.task_id offset 0) e
    cross join lateral (values
      ((e.data->>'token')::bigint * 4, 'leased', (e.data->>'leased_at')::timestamptz,
       jsonb_build_object('attempt', e.data->'attempt'), e.data ? 'token'),
      (e.tick * 4 + 2, e.event, e.at, e.data - 'token' - 'leased_at', true)
    ) x(id, event, at, data, happened) where x.happened
)
select e.id, e.task_id, e.event, e.at, e.data::text as data
from found e join followed f on f.task_id = e.task_id where e.id > f.after order by e.id
"""

# Everything that became visible since a snapshot: transactions that it did not know ($1, its xmax) and those that were
# under way then ($2, its xip), so that one that commits late is not missed. $3: up to which snapshot, $4: after which
# tick of them. Index events_xid.
LOG = """
select e.tick, e.event, e.at, coalesce(e.task_ids, array[e.task_id]) as task_ids, (e.data - 'token' - 'leased_at')::text as data
from seedcore.events e
where (e.xid >= $1::text::xid8 or e.xid = any($2::text[]::xid8[]))
  and pg_visible_in_snapshot(e.xid, $3::text::pg_snapshot) and e.tick > $4
order by e.tick limit $5
"""

# The same for few transactions ($1, all of them): a plan that needs no look at the values, and so need not be made again
# at every execution, which takes five times what the execution takes.
LOG_NEAR = """
select e.tick, e.event, e.at, coalesce(e.task_ids, array[e.task_id]) as task_ids, (e.data - 'token' - 'leased_at')::text as data
from unnest($1::text[]) x(xid) cross join lateral (select * from seedcore.events where xid = x.xid::xid8 offset 0) e
where pg_visible_in_snapshot(e.xid, $2::text::pg_snapshot) and e.tick > $3
order by e.tick limit $4
"""

CURRENT_SNAPSHOT = "select pg_current_snapshot()::text"
