"""What the tests of the engine's tables share."""

import json
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.tasks import leases, queries
from seedcore.tasks.model import Lease, Outcome, Status, TaskSpec
from seedcore.tasks.submission.submit import submit


def task(value: object = 1, **options: Any) -> TaskSpec:
    return TaskSpec("echo", json.dumps({"value": value}), **options)


async def submitted(connection: asyncpg.Connection, *tasks: TaskSpec) -> list[UUID]:
    return [item.id for item in await submit(connection, tasks)]


async def claim(connection: asyncpg.Connection, session: UUID, most: int = 100, **options: Any) -> list[Lease]:
    return await leases.claim(connection, "default", session, most, **options)


def done(lease: Lease) -> Outcome:
    return Outcome(lease.id, lease.token, Status.COMPLETED, '{"value": 1}', follow_up=lease.follow_up)


def failed(lease: Lease, code: str = "boom") -> Outcome:
    return Outcome(
        lease.id,
        lease.token,
        Status.FAILED,
        error_code=code,
        error_message=f"{code} happened",
        follow_up=lease.follow_up,
    )


async def status(connection: asyncpg.Connection, task_id: UUID) -> str:
    return str((await queries.get(connection, task_id)).status)


async def db_now(connection: asyncpg.Connection, offset: str = "0 s") -> Any:
    return await connection.fetchval("select now() + $1::text::interval", offset)
