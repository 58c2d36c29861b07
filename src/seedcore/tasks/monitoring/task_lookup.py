"""What other rooms ask about tasks that they know of: which have begun, how their parents ended, what tasks cost."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK
from seedcore.tasks.sql.history import PARENT_ENDS, SPENT, STARTED


class StartedTask(NamedTuple):
    """A task that runs or has ended: whose it is, and its parameter `name`; None: it has none."""

    id: UUID
    tenant: str
    name: str | None


class ParentEnd(NamedTuple):
    """A step whose parent has ended: whose it is, and whether the parent completed."""

    id: UUID
    tenant: str
    completed: bool


class SpentSums(NamedTuple):
    """Sums over ended tasks: how many, how many failed, and seconds of their last attempts (of `timed` tasks)."""

    tasks: int
    failures: int
    seconds: float
    squares: float
    timed: int


async def started_tasks(
    connection: asyncpg.Connection, ids: Sequence[UUID], type_: str, tenant: str | None
) -> list[StartedTask]:
    """Those of these tasks that are of a type, run or have ended, and belong to `tenant` (None: to anybody)."""
    return [StartedTask(*row) for row in await connection.fetch(STARTED, ids, type_, tenant)]


async def parent_ends(connection: asyncpg.Connection, ids: Sequence[UUID]) -> list[ParentEnd]:
    """Those of these tasks that are steps of a parent that completed or failed; a cancelled one says nothing."""
    return [ParentEnd(*row) for row in await connection.fetch(PARENT_ENDS, ids)]


async def spent(
    connection: asyncpg.Connection,
    since: datetime,
    until: datetime,
    type_: str | None,
    domain: str | None,
    scanned: int,
) -> SpentSums:
    """What tasks took that were submitted from `since` to `until` and have ended.

    Args:
        connection: where.
        since: from when.
        until: to when.
        type_: of which type; None: of any.
        domain: of which domain; None: of any.
        scanned: how many of the newest completed, and of the newest failed tasks are looked at.
    """
    row = await connection.fetchrow(SPENT, since, until, type_, domain, scanned, NOT_FAILURES_OF_THE_WORK)
    return SpentSums(*row)
