"""End tasks whose deadline has passed: in the reaper on time, and wherever a late one is claimed or ended."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.recovery.reaped_counts import count_late
from seedcore.tasks.sql.commands import LIVES, MAX_MOVES
from seedcore.tasks.sql.finish import SETTLE
from seedcore.tasks.sql.reap import CLOSE_LATE, DUE, DUE_DONE
from seedcore.telemetry.logs import get_logger
from seedcore.utils.batch_split import split_refused

PAGE = 1000


async def close_late(connection: asyncpg.Connection) -> int:
    """End tasks whose deadline has passed, a page of them; returns how many, the steps below them included."""
    gone: list[UUID] = []
    codes: dict[UUID, str] = {}
    async with connection.transaction():
        due = await connection.fetch(DUE, PAGE)
        late = [row["id"] for row in due if row["late"]]
        for _ in range(MAX_MOVES if late else 0):
            if not await connection.fetchval(LIVES, late):
                break
            closed = await connection.fetch(CLOSE_LATE, late)
            gone += [row["id"] for row in closed]
            codes |= {row["id"]: row["code"] for row in closed if row["code"] is not None}
        if due:
            await connection.execute(DUE_DONE, [row["id"] for row in due])
        await settle(connection, gone)
    count_late(due, codes)
    return len(gone)


async def settle(connection: asyncpg.Connection, ended: Sequence[UUID]) -> None:
    """Compute what follows from these ends, inside the caller's transaction: plans go on, keys admit other tasks.

    An end whose consequence PostgreSQL refuses is logged: it must not undo the ends of the others, round after round.
    """
    log = get_logger("seedcore.tasks")

    async def part(ids: Sequence[UUID]) -> None:
        async with connection.transaction():
            await connection.execute(SETTLE, list(ids))

    await split_refused(
        ended,
        part,
        is_row_error,
        lambda task_id, error: log.error("consequences of a task's end refused", task=str(task_id), reason=str(error)),
    )
