"""Idempotency keys: the same key again gives the first task, and a conflict (409) when the request differs.

A key is unique within its queue. The insert of a keyed submission decides which submitter is first
(`sql.submit.SUBMIT_KEYED`); this answers the others. `seedcore.enqueue` does the same in SQL.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError, FieldError
from seedcore.tasks.model import Submitted, TaskSpec
from seedcore.tasks.sql.submit import FIRST_OF_KEYS


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


async def resolve_keys(
    connection: asyncpg.Connection, tasks: Sequence[TaskSpec], stored: Mapping[UUID, datetime]
) -> list[Submitted]:
    """Answers for `tasks`, in order: the new task where it was stored, else the first task of its key.

    Args:
        connection: inside the transaction that stored them.
        tasks: a submission, keyed or not.
        stored: when each task was created that this submission stored, by id.

    Raises:
        ConflictError: a key belongs to a task of another type or with other params.
    """
    answers = {n: Submitted(task.id, stored[task.id]) for n, task in enumerate(tasks) if task.id in stored}
    repeated = [n for n in range(len(tasks)) if n not in answers]
    if not repeated:
        return [answers[n] for n in range(len(tasks))]
    rows = await connection.fetch(
        FIRST_OF_KEYS,
        [tasks[n].queue for n in repeated],
        [tasks[n].idempotency_key for n in repeated],
        [tasks[n].type for n in repeated],
        [tasks[n].params for n in repeated],
    )
    for row in rows:
        n = repeated[row["n"] - 1]
        if not row["same"]:
            used_for = f"in queue {tasks[n].queue!r} for a task of another type or with other params (task {row['id']})"
            raise key_conflict(tasks[n].idempotency_key, used_for, "other params")
        answers[n] = Submitted(row["id"], None)
    return [answers[n] for n in range(len(tasks))]
