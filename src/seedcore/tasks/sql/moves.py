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
