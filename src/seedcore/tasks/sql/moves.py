"""Moves for escalated work: what was tried for a stream and whether it helped, its first samples, its direct runs."""

# Before the plan is stored, in the same transaction; the task has as many rows as plans.
NOTE_MOVE = """
insert into seedcore.move_outcomes (task_id, n, tenant, stream, type, move, detail)
select $1, coalesce((select max(n) + 1 from seedcore.move_outcomes where task_id = $1), 0), $2, $3, $4, $5, $6::jsonb
"""

# Null: it has a place.
JOIN_SAMPLE = "select seedcore.join_sample($1, $2, $3)"

SAMPLE_ID = "select id from seedcore.stream_samples where stream = $1"

# Primary key.
SAMPLE_OF = """
select case when status = 'open' and opened_at < now() - make_interval(secs => $2) then 'over' else status end as status,
       extract(epoch from now() - coalesce(ended_at, opened_at))::float8 as age_s, size, good, bad
from seedcore.stream_samples where stream = $1 and status <> 'new'
"""

# Index move_outcomes_stream: the newest plans of the stream.
MOVE_ENDS = """
select move, count(*) filter (where helped) as helped, count(*) as ends, avg(steps)::float8 as steps,
       avg(seconds)::float8 as seconds
from (select move, helped, steps, seconds from seedcore.move_outcomes
      where stream = $1 and ended_at is not null order by ended_at desc limit $2) o
group by move
"""

# Primary key.
TRIED = "select move from seedcore.move_outcomes where task_id = $1 order by n"

# Newest first by id, which is in the order of time: primary keys of finished, dead and tasks.
DIRECT_ENDS = """
select e.ok, e.code, t.parent_id is not null or e.rule = $2 as changed from (
  select * from (select id, true as ok, null as code, decision->>'rule' as rule from seedcore.finished
                 where status = 'completed' and decision->>'route' = 'fast' order by id desc limit $3) f
  union all
  select * from (select id, false, error_code, decision->>'rule' from seedcore.dead
                 where decision->>'route' = 'fast' and error_code <> all($5::text[]) order by id desc limit $3) d
  order by id desc limit $3) e
join seedcore.tasks t on t.id = e.id
where (case when t.domain is null then t.type else t.domain || '/' || t.type end) = $1
order by e.id desc limit $4
"""

# Primary key of tasks; counted among some of those that are ready.
WAITING = """
select count(*) from (select id from seedcore.ready limit $2) r join seedcore.tasks t on t.id = r.id
where (case when t.domain is null then t.type else t.domain || '/' || t.type end) = $1
"""

# Index move_outcomes_fresh: the oldest ends that memory does not know of.
FRESH = """
select task_id, n from seedcore.move_outcomes where ended_at is not null and not remembered order by ended_at limit $1
"""

# Primary key, then index move_outcomes_stream: what was learnt of each incident and move that these ends are of.
SETTLED = """
with kinds as (
  select distinct o.tenant, o.stream, o.type, o.move, o.detail->>'incident' as incident
  from unnest($1::uuid[], $2::smallint[]) f(task_id, n) join seedcore.move_outcomes o on o.task_id = f.task_id and o.n = f.n
  where o.detail ? 'incident')
select k.tenant, k.stream, k.type, k.move, k.incident, md5(k.incident) as incident_id, a.helped, a.ends, a.steps,
       coalesce(a.good, 0) as direct_good, coalesce(a.bad, 0) as direct_bad
from kinds k cross join lateral (
  select count(*) filter (where o.helped) as helped, count(*) as ends, avg(o.steps)::float8 as steps,
         (array_agg((o.detail->>'direct_good')::int order by o.ended_at desc))[1] as good,
         (array_agg((o.detail->>'direct_bad')::int order by o.ended_at desc))[1] as bad
  from (select * from seedcore.move_outcomes m
        where m.stream = k.stream and m.tenant = k.tenant and m.type = k.type and m.move = k.move
          and m.ended_at is not null and m.detail->>'incident' = k.incident
        order by m.ended_at desc limit 500) o) a
"""

REMEMBERED = """
update seedcore.move_outcomes o set remembered = true
from unnest($1::uuid[], $2::smallint[]) f(task_id, n) where o.task_id = f.task_id and o.n = f.n
"""
