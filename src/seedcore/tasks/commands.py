"""Commands of people: cancel, retry, approve and reject tasks, pause and resume queues.

`tenant`: whose the task must be, or there is none of that id for who asks; None: anybody's.
"""

from datetime import datetime
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError
from seedcore.tasks import queries
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.sql.commands import APPROVE, CANCEL, LIVES, MAX_MOVES, PAUSE, REJECT, REQUEUE, RESUME
from seedcore.tasks.sql.finish import SETTLE


async def cancel(connection: asyncpg.Connection, task_id: UUID, tenant: str | None = None) -> TaskRecord:
    """End a task and the steps below it; a completion that comes later is refused.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: it has ended already.
    """
    await queries.check_owner(connection, task_id, tenant)
    gone: list[UUID] = []
    async with connection.transaction():
        # Repeated when the task moved from one table to another meanwhile.
        for _ in range(MAX_MOVES):
            if not await connection.fetchval(LIVES, [task_id]):
                break
            gone += [row["id"] for row in await connection.fetch(CANCEL, task_id)]
        if gone:
            await connection.execute(SETTLE, gone)
    return await _after(connection, task_id, bool(gone), "cancel a task that has ended")


async def retry(connection: asyncpg.Connection, task_id: UUID, tenant: str | None = None) -> TaskRecord:
    """Run a failed or cancelled task again, with all its attempts.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: it has not failed, or is a step of a plan (retry the plan's task).
    """
    record = await queries.get(connection, task_id, tenant)
    if record.parent_id is not None:
        raise ConflictError(f"Task {task_id} is a step of a plan: retry task {record.parent_id}.")
    row = await connection.fetchrow(REQUEUE, [task_id])
    return await _after(connection, task_id, row is not None, "retry a task that has not failed or been cancelled")


async def approve(
    connection: asyncpg.Connection, task_id: UUID, by: str | None = None, tenant: str | None = None
) -> TaskRecord:
    """Release a task that waits for a person; `by` is who does it, kept in its events.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: it does not wait for approval.
    """
    await queries.check_owner(connection, task_id, tenant)
    row = await connection.fetchrow(APPROVE, [task_id], by, "request")
    return await _after(connection, task_id, row is not None, "approve a task that does not wait for approval")


async def reject(
    connection: asyncpg.Connection, task_id: UUID, reason: str, by: str | None = None, tenant: str | None = None
) -> TaskRecord:
    """Refuse a task that waits for a person; it ends as failed with code `approval_rejected`.

    Raises:
        NotFoundError: there is no such task.
        ConflictError: it does not wait for approval.
    """
    await queries.check_owner(connection, task_id, tenant)
    async with connection.transaction():
        message = reason if by is None else f"{by}: {reason}"
        row = await connection.fetchrow(REJECT, [task_id], by, "request", FailureCode.APPROVAL_REJECTED, message)
        if row is not None:
            await connection.execute(SETTLE, [task_id])
    return await _after(connection, task_id, row is not None, "reject a task that does not wait for approval")


async def _after(connection: asyncpg.Connection, task_id: UUID, done: bool, what: str) -> TaskRecord:
    record = await queries.get(connection, task_id)
    if not done:
        raise ConflictError(f"Cannot {what}: task {task_id} is {record.status}.", task_status=str(record.status))
    return record


async def pause(connection: asyncpg.Connection, queue: str) -> None:
    """Claim nothing more from a queue; what runs goes on."""
    await connection.execute(PAUSE, queue)


async def resume(connection: asyncpg.Connection, queue: str) -> datetime:
    """Claim from a queue again; returns the database's time of it."""
    at: datetime = (await connection.fetchrow(RESUME, queue))["at"]
    return at
