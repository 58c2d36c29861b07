"""Store tasks: one statement for any number, all or none."""

from collections.abc import Sequence

import asyncpg

from seedcore.errors import InvalidInputError
from seedcore.tasks.idempotency import resolve_keys
from seedcore.tasks.model import Limit, Submitted, TaskSpec
from seedcore.tasks.sql.limits import SET_LIMITS
from seedcore.tasks.sql.submit import SUBMIT, SUBMIT_KEYED, SUBMIT_NOW


async def submit(connection: asyncpg.Connection, tasks: Sequence[TaskSpec]) -> list[Submitted]:
    """Store `tasks`, in order; a known idempotency key gives the first task instead of a second one.

    Raises:
        ConflictError: a key was used before with another type or other params; nothing is stored.
        InvalidInputError: PostgreSQL cannot keep the params (`\\u0000`, numbers beyond its range).
    """
    if not tasks:
        return []
    keyed = any(task.idempotency_key is not None for task in tasks)
    limits = {task.limit for task in tasks if task.limit is not None}
    try:
        if all(map(_is_plain, tasks)):
            row = await connection.fetchrow(SUBMIT_NOW, *_plain_columns(tasks))
            return [Submitted(task.id, row["created_at"]) for task in tasks]
        columns = (*_plain_columns(tasks), *_other_columns(tasks))
        if not keyed and not limits:
            # One statement is a transaction of its own.
            created_at = (await connection.fetch(SUBMIT, *columns))[0]["created_at"]
            return [Submitted(task.id, created_at) for task in tasks]
        async with connection.transaction():
            if limits:
                await set_limits(connection, list(limits))
            rows = await connection.fetch(SUBMIT_KEYED if keyed else SUBMIT, *columns)
            return await resolve_keys(connection, tasks, {row["id"]: row["created_at"] for row in rows})
    except (asyncpg.UntranslatableCharacterError, asyncpg.InvalidTextRepresentationError, asyncpg.DataError) as error:
        message = f"cannot be stored as JSON: {error.args[0]}"
        raise InvalidInputError.for_field("params", message) from None


async def set_limits(connection: asyncpg.Connection, limits: Sequence[Limit]) -> None:
    """Define limits of keys; fields that are None stay as they are."""
    await connection.execute(
        SET_LIMITS,
        [limit.key for limit in limits],
        [limit.max_running for limit in limits],
        [limit.rate_per_s for limit in limits],
        [limit.burst for limit in limits],
    )


def _is_plain(task: TaskSpec) -> bool:
    return task.idempotency_key is None and task.run_after is None and task.deadline is None and task.limit is None


def _plain_columns(tasks: Sequence[TaskSpec]) -> tuple[list[object], ...]:
    return (
        [t.id for t in tasks],
        [t.type for t in tasks],
        [t.params for t in tasks],
        [t.queue for t in tasks],
        [t.domain for t in tasks],
        [t.priority for t in tasks],
        [t.max_attempts for t in tasks],
        [t.timeout_s for t in tasks],
        [t.slow for t in tasks],
    )


def _other_columns(tasks: Sequence[TaskSpec]) -> tuple[list[object], ...]:
    return (
        [t.run_after for t in tasks],
        [t.idempotency_key for t in tasks],
        [t.deadline for t in tasks],
        [None if t.limit is None else t.limit.key for t in tasks],
        [t.idempotency_period_s for t in tasks],
    )
