"""Dead letters: tasks that failed for good. Find them, count them, run them again.

`tenant`: whose they must be; None: anybody's.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from seedcore.tasks import queries
from seedcore.tasks.model import DEFAULT_TENANT
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.sql.commands import REQUEUE
from seedcore.tasks.sql.dead_letters import (
    COUNTS,
    COUNTS_OF_DEFAULT,
    COUNTS_OF_TENANT,
    FIND,
    FIND_BY_ID,
    FIND_OF_TENANT,
)

_COUNTS = {None: COUNTS, DEFAULT_TENANT: COUNTS_OF_DEFAULT}


async def find(
    connection: asyncpg.Connection,
    *,
    task_type: str | None = None,
    code: str | None = None,
    tenant: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[TaskRecord]:
    """Dead letters with their errors, the newest first."""
    rows = await connection.fetch(_find(tenant), task_type, code, before, limit, True, tenant)
    return await queries.get_many(connection, [row["id"] for row in rows])


async def counts(connection: asyncpg.Connection, tenant: str | None = None) -> list[dict[str, object]]:
    """How many there are by type and error code, among the newest 10,000."""
    statement = _COUNTS.get(tenant, COUNTS_OF_TENANT)
    return [{**row, "newest": row["newest"].isoformat()} for row in await connection.fetch(statement, tenant)]


async def requeue(
    connection: asyncpg.Connection,
    *,
    ids: Sequence[UUID] | None = None,
    task_type: str | None = None,
    code: str | None = None,
    tenant: str | None = None,
    limit: int = 1000,
) -> list[UUID]:
    """Run dead letters again with all their attempts; returns those that do.

    Args:
        connection: where.
        ids: just these (those of them that are dead letters, and no plan's steps).
        task_type: without `ids`, those of this type.
        code: without `ids`, those with this error code.
        tenant: whose; None: anybody's.
        limit: how many at most, the newest first.
    """
    async with connection.transaction():
        if ids is None:
            rows = await connection.fetch(_find(tenant), task_type, code, None, limit, False, tenant)
        else:
            rows = await connection.fetch(FIND_BY_ID, list(ids), limit, tenant)
        return [row["id"] for row in await connection.fetch(REQUEUE, [row["id"] for row in rows])]


def _find(tenant: str | None) -> str:
    return FIND if tenant in (None, DEFAULT_TENANT) else FIND_OF_TENANT
