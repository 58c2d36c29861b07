"""The dead letters: tasks that failed for good. Look at them, and let them run again."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from seedcore.tasks import queries, sql
from seedcore.tasks.queries import TaskRecord

# Index dead_code, or the primary key; the steps of a plan are retried by retrying the plan.
_SOME = """
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


async def find(
    connection: asyncpg.Connection,
    *,
    task_type: str | None = None,
    code: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[TaskRecord]:
    """Dead letters with their errors, the newest first."""
    rows = await connection.fetch(_SOME, task_type, code, before, limit, True)
    return await queries.get_many(connection, [row["id"] for row in rows])


async def counts(connection: asyncpg.Connection) -> list[dict[str, object]]:
    """How many by type and error code, among the newest 10,000."""
    return [{**row, "newest": row["newest"].isoformat()} for row in await connection.fetch(COUNTS)]


async def requeue(
    connection: asyncpg.Connection,
    *,
    ids: Sequence[UUID] | None = None,
    task_type: str | None = None,
    code: str | None = None,
    limit: int = 1000,
) -> list[UUID]:
    """Let dead letters run again with all their attempts; returns those that do.

    Args:
        connection: where.
        ids: just these (those of them that are dead letters, and no plan's steps).
        task_type: without `ids`, those of this type.
        code: without `ids`, those with this error code.
        limit: at most so many, the newest first.
    """
    async with connection.transaction():
        if ids is None:
            rows = await connection.fetch(_SOME, task_type, code, None, limit, False)
        else:
            rows = await connection.fetch(
                "select d.id from seedcore.dead d join seedcore.tasks t on t.id = d.id"
                " where d.id = any($1::uuid[]) and t.parent_id is null limit $2",
                list(ids),
                limit,
            )
        return [row["id"] for row in await connection.fetch(sql.REQUEUE, [row["id"] for row in rows])]
