"""Limits by key: how many of a key's tasks run at once, and how many start in a second."""

from dataclasses import dataclass

import asyncpg

from seedcore.errors import ConflictError, NotFoundError
from seedcore.tasks.model import DEFAULT_TENANT
from seedcore.tasks.sql.limits import ADMIT, FIND, FIND_DEFAULT, FIND_OF_TENANT, GET, LOCK, PUT, REMOVE
from seedcore.tasks.submission.tenancy import unscoped


@dataclass(frozen=True, slots=True)
class LimitState:
    """A key's limit, and its tasks (counted up to 10,000): let through and not ended, and waiting."""

    key: str
    max_running: int | None
    rate_per_s: float | None
    burst: int
    running: int
    waiting: int


async def get(connection: asyncpg.Connection, key: str) -> LimitState:
    """One key's limit.

    Raises:
        NotFoundError: it is not defined.
    """
    row = await connection.fetchrow(GET, key)
    if row is None:
        raise NotFoundError(f"There is no limit {unscoped(key)!r}.")
    return LimitState(**row)


async def find(
    connection: asyncpg.Connection, after: str | None, limit: int, tenant: str | None = None
) -> list[LimitState]:
    """Limits by key as they are stored, those behind `after`; of a tenant, or (None) of all."""
    if tenant is None or tenant == DEFAULT_TENANT:
        rows = await connection.fetch(FIND if tenant is None else FIND_DEFAULT, after or "", limit)
    else:
        rows = await connection.fetch(FIND_OF_TENANT, after or "", limit, tenant)
    return [LimitState(**row) for row in rows]


async def put(
    connection: asyncpg.Connection, key: str, max_running: int | None, rate_per_s: float | None, burst: int
) -> LimitState:
    """Define a key's limit, whole; None takes a bound away. Tasks that may go now go."""
    # Not in one transaction: `admit` locks this key and those that its waiting tasks also name, in their order.
    await connection.execute(PUT, key, max_running, rate_per_s, burst)
    await connection.execute(ADMIT, [key])
    return await get(connection, key)


async def remove(connection: asyncpg.Connection, key: str) -> None:
    """Forget a limit that no task waits for.

    Raises:
        NotFoundError: it is not defined.
        ConflictError: tasks wait for it.
    """
    async with connection.transaction():
        await connection.execute(LOCK, key)
        state = await get(connection, key)
        if state.waiting:
            raise ConflictError(
                f"{state.waiting} tasks wait for the limit {unscoped(key)!r}: raise it, or cancel them."
            )
        await connection.execute(REMOVE, key)
