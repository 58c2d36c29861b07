"""Dead letters: tasks that failed for good."""

# Index dead_code, or the primary key; the steps of a plan are retried by retrying the plan.
FIND = """
select d.id from seedcore.dead d join seedcore.tasks t on t.id = d.id
where ($1::text is null or t.type = $1) and ($2::text is null or d.error_code = $2) and ($3::uuid is null or d.id < $3)
  and ($5 or t.parent_id is null)
order by d.id desc limit $4
"""

COUNTS = """
select t.type, d.error_code as code, count(*) as tasks, max(d.finished_at) as newest
from (select * from seedcore.dead order by id desc limit 10000) d join seedcore.tasks t on t.id = d.id
group by 1, 2 order by tasks desc, 1, 2 limit 100
"""

# Primary keys; as above without the steps of plans.
FIND_BY_ID = """
select d.id from seedcore.dead d join seedcore.tasks t on t.id = d.id
where d.id = any($1::uuid[]) and t.parent_id is null limit $2
"""
