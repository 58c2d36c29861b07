"""What keys allow: how many of their tasks run at once, how many start in a second."""

from dataclasses import dataclass

import asyncpg

from seedcore.errors import ConflictError, NotFoundError
from seedcore.tasks import sql

_COLUMNS = """
l.key, l.max_running, l.rate_per_s, l.burst,
(select count(*) from (select 1 from seedcore.admitted a where a.key = l.key limit 10000) r) as running,
(select count(*) from (select 1 from seedcore.gated g where g.key = l.key limit 10000) w) as waiting
"""

_PUT = """
insert into seedcore.limits as l (key, max_running, rate_per_s, burst, tokens) values ($1, $2, $3, $4::int, $4::int)
on conflict (key) do update set max_running = excluded.max_running, rate_per_s = excluded.rate_per_s,
  burst = excluded.burst, tokens = least(l.tokens, excluded.burst)
"""


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
        NotFoundError: nobody defined it.
    """
    row = await connection.fetchrow(f"select {_COLUMNS} from seedcore.limits l where l.key = $1", key)  # noqa: S608
    if row is None:
        raise NotFoundError(f"There is no limit {key!r}.")
    return LimitState(**row)


async def find(connection: asyncpg.Connection, after: str | None, limit: int) -> list[LimitState]:
    """Limits by key, those behind `after`."""
    statement = f"select {_COLUMNS} from seedcore.limits l where l.key > $1 order by l.key limit $2"  # noqa: S608
    return [LimitState(**row) for row in await connection.fetch(statement, after or "", limit)]


async def put(
    connection: asyncpg.Connection, key: str, max_running: int | None, rate_per_s: float | None, burst: int
) -> LimitState:
    """Define a key's limit, whole; None takes a bound away. Tasks that may go now go."""
    async with connection.transaction():
        await connection.execute(_PUT, key, max_running, rate_per_s, burst)
        await connection.execute(sql.ADMIT, [key])
    return await get(connection, key)


async def remove(connection: asyncpg.Connection, key: str) -> None:
    """Forget a limit that no task waits for.

    Raises:
        NotFoundError: nobody defined it.
        ConflictError: tasks wait for it.
    """
    async with connection.transaction():
        await connection.execute("select 1 from seedcore.limits where key = $1 for update", key)
        state = await get(connection, key)
        if state.waiting:
            raise ConflictError(f"{state.waiting} tasks wait for the limit {key!r}: raise it, or cancel them.")
        await connection.execute("delete from seedcore.limits where key = $1", key)
