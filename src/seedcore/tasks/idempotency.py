"""Idempotency keys: the same key again gives the first task, and a conflict (409) when the request differs.

A key is unique within its tenant's queue. The insert of a keyed submission decides which submitter is first
(`sql.submit`); this answers the others. `seedcore.enqueue` does the same in SQL.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError, FieldError
from seedcore.tasks.model import Submitted, TaskSpec
from seedcore.tasks.sql.submit import FIRST_OF_KEYS
from seedcore.tasks.submission.tenancy import key_space


def key_conflict(key: str | None, used_for: str, difference: str) -> ConflictError:
    """The error for a key that was used before for something else.

    Args:
        key: the idempotency key.
        used_for: where and what for, after "was used".
        difference: what the two requests differ in, after "already used with".
    """
    return ConflictError(
        f"idempotency_key {key!r} was used {used_for}.",
        errors=[FieldError("idempotency_key", f"already used with {difference}")],
    )


async def first_of_keys(connection: asyncpg.Connection, tasks: Sequence[TaskSpec]) -> dict[UUID, Submitted]:
    """The first task of each one's key, by the id that the later one would have had.

    Args:
        connection: of the submission that found the keys used.
        tasks: with keys.

    Raises:
        ConflictError: a key belongs to a task of another type or with other params.
    """
    rows = await connection.fetch(
        FIRST_OF_KEYS,
        [key_space(task.queue, task.tenant) for task in tasks],
        [task.idempotency_key for task in tasks],
        [task.type for task in tasks],
        [task.params for task in tasks],
    )
    answers: dict[UUID, Submitted] = {}
    for row in rows:
        task = tasks[row["n"] - 1]
        if not row["same"]:
            used_for = f"in queue {task.queue!r} for a task of another type or with other params (task {row['id']})"
            raise key_conflict(task.idempotency_key, used_for, "other params")
        answers[task.id] = Submitted(row["id"], None)
    return answers
