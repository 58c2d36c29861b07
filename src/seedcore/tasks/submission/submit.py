"""Store tasks: one statement for any number, all or none."""

import json
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

import asyncpg

from seedcore.errors import InvalidInputError
from seedcore.tasks.idempotency import first_of_keys
from seedcore.tasks.model import Limit, Submitted, TaskSpec
from seedcore.tasks.sql import submit as sql
from seedcore.tasks.sql.limits import SET_LIMITS
from seedcore.tasks.submission.tenancy import key_space, scoped

NEW_KEYS_FROM = 100
"""From so many tasks on, keys are taken to be new: when one was used, what was written until then was in vain, and
PostgreSQL logs an error."""


async def submit(connection: asyncpg.Connection, tasks: Sequence[TaskSpec]) -> list[Submitted]:
    """Store `tasks`, in order; a known idempotency key gives the first task instead of a second one.

    Of those who submit (`by`) the first one's is noted for all: they are the tasks of one request.

    Raises:
        ConflictError: a key was used before with another type or other params; nothing is stored.
        InvalidInputError: PostgreSQL cannot keep the params (`\\u0000`, numbers beyond its range).
    """
    if not tasks:
        return []
    try:
        now = all(map(_is_due_now, tasks))
        if now and len(tasks) == 1 and (answer := await _submit_one(connection, tasks[0])) is not None:
            return [answer]
        if now and len(tasks) >= NEW_KEYS_FROM and (answers := await _submit_new_keys(connection, tasks)) is not None:
            return answers
        return await _submit_many(connection, tasks, now)
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


async def _submit_one(connection: asyncpg.Connection, task: TaskSpec) -> Submitted | None:
    """Store a task that is due now; None when its key was used and, by now, is not: try again.

    No transaction: nothing is written when the key was used.
    """
    values = (task.id, task.type, task.params, task.queue, task.slow, task.domain, task.priority, task.max_attempts)
    origin = (task.timeout_s, task.tenant, task.traceparent, task.by)
    if task.idempotency_key is None:
        row = await connection.fetchrow(sql.SUBMIT_ONE, *values, *origin)
    else:
        key = (task.idempotency_key, task.idempotency_period_s)
        row = await connection.fetchrow(sql.SUBMIT_ONE_KEYED, *values, *origin, *key)
    if row is not None:
        return Submitted(task.id, row["created_at"])
    return (await first_of_keys(connection, [task])).get(task.id)


async def _submit_new_keys(connection: asyncpg.Connection, tasks: Sequence[TaskSpec]) -> list[Submitted] | None:
    """Store tasks whose keys are all new; None when one was used, and when this cannot know: nothing is stored."""
    first, last = tasks[0], tasks[-1]
    if first.idempotency_key is None or last.idempotency_key is None or connection.is_in_transaction():
        return None
    ends = [part for t in (first, last) for part in (key_space(t.queue, t.tenant), t.idempotency_key)]
    try:
        row = await connection.fetchrow(sql.SUBMIT_NOW_NEW_KEYS, *_columns(tasks, sql.SHARED_NOW, keyed=True), *ends)
    except asyncpg.UniqueViolationError:
        return None
    return None if row is None else [Submitted(task.id, row["created_at"]) for task in tasks]


async def _submit_many(connection: asyncpg.Connection, tasks: Sequence[TaskSpec], now: bool) -> list[Submitted]:
    keyed = any(task.idempotency_key is not None for task in tasks)
    limits = {limit for task in tasks if task.limit is not None for limit in _stored_limits(task)}
    if not keyed and not limits:
        # One statement is a transaction of its own.
        statement, shared = (sql.SUBMIT_NOW, sql.SHARED_NOW) if now else (sql.SUBMIT, sql.SHARED)
        row = await connection.fetchrow(statement, *_columns(tasks, shared, keyed=False))
        return [Submitted(task.id, row["created_at"]) for task in tasks]
    async with connection.transaction():
        if limits:
            await set_limits(connection, list(limits))
        statement = sql.SUBMIT_KEYED if keyed else sql.SUBMIT
        row = await connection.fetchrow(statement, *_columns(tasks, sql.SHARED, keyed))
        created_at = row["created_at"]
        if not row["lost"]:
            return [Submitted(task.id, created_at) for task in tasks]
        lost = set(row["lost"])
        first = await first_of_keys(connection, [task for task in tasks if task.id in lost])
        return [first[task.id] if task.id in lost else Submitted(task.id, created_at) for task in tasks]


def _is_due_now(task: TaskSpec) -> bool:
    return task.run_after is None and task.deadline is None and task.limit is None


def _stored_limits(task: TaskSpec) -> list[Limit]:
    """Its limits by the keys that they are stored under."""
    limits = task.limits or ((task.limit,) if task.limit is not None else ())
    return [Limit(scoped(task.tenant, n.key), n.max_running, n.rate_per_s, n.burst) for n in limits]


def _limit_key(task: TaskSpec) -> str | None:
    return None if task.limit is None else scoped(task.tenant, task.limit.key)


def _limits(task: TaskSpec) -> str | None:
    """Several limits, or one of another cost than 1, as JSON text."""
    if not task.limits:
        return None
    return json.dumps(
        [
            {"key": scoped(task.tenant, n.key), "cost": int(n.cost) if n.cost == int(n.cost) else n.cost}
            for n in task.limits
        ]
    )


_READ: dict[str, Callable[[TaskSpec], object]] = {
    name: attrgetter(name) for name in sql.SHARED.keys() - {"period_s", "limit_key", "limits"}
} | {
    "period_s": attrgetter("idempotency_period_s"),
    "limit_key": _limit_key,
    "limits": _limits,
}


def _columns(tasks: Sequence[TaskSpec], shared: Iterable[str], keyed: bool) -> tuple[object, ...]:
    """The parameters of the statements for many; see `sql.submit`."""
    arrays: list[Sequence[object]] = []
    values: list[object] = []
    for name in shared:
        column = list(map(_READ[name], tasks))
        same = column.count(column[0]) == len(column)
        arrays.append(() if same else column)
        values.append(column[0] if same else None)
    keys = [t.idempotency_key for t in tasks] if keyed else ()
    return ([t.id for t in tasks], [t.params for t in tasks], keys, *arrays, *values, tasks[0].by)
