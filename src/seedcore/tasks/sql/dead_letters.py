"""Dead letters: tasks that failed for good."""

from seedcore.tasks.sql.reads import OF_OTHERS


def _find(more: str) -> str:
    return f"""
select d.id from seedcore.dead d join seedcore.tasks t on t.id = d.id
where ($1::text is null or t.type = $1) and ($2::text is null or d.error_code = $2) and ($3::uuid is null or d.id < $3)
  and ($5 or t.parent_id is null) and ($6::text is null or t.tenant = $6) {more}
order by d.id desc limit $4
"""


def _counts(newest: str) -> str:
    return f"""
select t.type, d.error_code as code, count(*) as tasks, max(d.finished_at) as newest
from ({newest} order by d.id desc limit 10000) d join seedcore.tasks t on t.id = d.id
group by 1, 2 order by tasks desc, 1, 2 limit 100
"""


# Index dead_code, or the primary key; the steps of a plan are retried by retrying the plan.
FIND = _find("")

COUNTS = _counts("select d.* from seedcore.dead d where $1::text is null")

# The same of a tenant, which index tasks_tenant has: its dead letters are found without a look at those of others.
FIND_OF_TENANT = _find(f"and t.{OF_OTHERS}")

COUNTS_OF_TENANT = _counts(
    f"select d.* from seedcore.dead d join seedcore.tasks o on o.id = d.id where o.tenant = $1 and o.{OF_OTHERS}"
)

COUNTS_OF_DEFAULT = _counts("select d.* from seedcore.dead d join seedcore.tasks o on o.id = d.id where o.tenant = $1")

# Primary keys; as above without the steps of plans.
FIND_BY_ID = """
select d.id from seedcore.dead d join seedcore.tasks t on t.id = d.id
where d.id = any($1::uuid[]) and t.parent_id is null and ($3::text is null or t.tenant = $3) limit $2
"""
