"""Submitting tasks: one statement for any number, all or none."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError, FieldError, InvalidInputError

from . import sql
from .model import Limit, NewTask, Submitted


async def submit(connection: asyncpg.Connection, tasks: Sequence[NewTask]) -> list[Submitted]:
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
            row = await connection.fetchrow(sql.SUBMIT_NOW, *_plain_columns(tasks))
            return [Submitted(task.id, row["created_at"]) for task in tasks]
        columns = (*_plain_columns(tasks), *_other_columns(tasks))
        if not keyed and not limits:
            # One statement is a transaction of its own.
            created_at = (await connection.fetch(sql.SUBMIT, *columns))[0]["created_at"]
            return [Submitted(task.id, created_at) for task in tasks]
        async with connection.transaction():
            if limits:
                await set_limits(connection, list(limits))
            rows = await connection.fetch(sql.SUBMIT_KEYED if keyed else sql.SUBMIT, *columns)
            return await _resolve(connection, tasks, {row["id"]: row["created_at"] for row in rows})
    except (asyncpg.UntranslatableCharacterError, asyncpg.InvalidTextRepresentationError, asyncpg.DataError) as error:
        message = f"cannot be stored as JSON: {error.args[0]}"
        raise InvalidInputError(f"params {message}", errors=[FieldError("params", message)]) from None


async def set_limits(connection: asyncpg.Connection, limits: Sequence[Limit]) -> None:
    """Define what keys allow; what a limit does not say stays as it is."""
    await connection.execute(
        sql.SET_LIMITS,
        [limit.key for limit in limits],
        [limit.max_running for limit in limits],
        [limit.rate_per_s for limit in limits],
        [limit.burst for limit in limits],
    )


async def _resolve(
    connection: asyncpg.Connection, tasks: Sequence[NewTask], fresh: Mapping[UUID, datetime]
) -> list[Submitted]:
    answers = {n: Submitted(task.id, fresh[task.id]) for n, task in enumerate(tasks) if task.id in fresh}
    rest = [n for n in range(len(tasks)) if n not in answers]
    if not rest:
        return [answers[n] for n in range(len(tasks))]
    rows = await connection.fetch(
        sql.FIRST_OF_KEYS,
        [tasks[n].queue for n in rest],
        [tasks[n].idempotency_key for n in rest],
        [tasks[n].type for n in rest],
        [tasks[n].params for n in rest],
    )
    for row in rows:
        n = rest[row["n"] - 1]
        if not row["same"]:
            raise ConflictError(
                f"idempotency_key {tasks[n].idempotency_key!r} was used in queue {tasks[n].queue!r} "
                f"for a task of another type or with other params (task {row['id']}).",
                errors=[FieldError("idempotency_key", "already used with other params")],
            )
        answers[n] = Submitted(row["id"], None)
    return [answers[n] for n in range(len(tasks))]


def _is_plain(task: NewTask) -> bool:
    return task.idempotency_key is None and task.run_after is None and task.deadline is None and task.limit is None


def _plain_columns(tasks: Sequence[NewTask]) -> tuple[list[Any], ...]:
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


def _other_columns(tasks: Sequence[NewTask]) -> tuple[list[Any], ...]:
    return (
        [t.run_after for t in tasks],
        [t.idempotency_key for t in tasks],
        [t.deadline for t in tasks],
        [None if t.limit is None else t.limit.key for t in tasks],
        [t.idempotency_period_s for t in tasks],
    )
