"""Returning what dead dispatchers held, and forgetting what retention allows. Each step is one guarded statement."""

from dataclasses import dataclass

import asyncpg

from seedcore.settings import Settings
from seedcore.tasks import sql

PAGE = 1000
DAY_S = 86_400.0


@dataclass(slots=True)
class Reaped:
    """What one round did."""

    sessions: int = 0
    returned: int = 0
    dead: int = 0
    promoted: int = 0
    expired: int = 0


async def reap(connection: asyncpg.Connection, settings: Settings) -> Reaped:
    """One round: end sessions without heartbeat, return their tasks with jitter or end them, promote what is due."""
    done = Reaped(sessions=len(await connection.fetch(sql.REAP_SESSIONS)))
    while True:
        async with connection.transaction():
            rows = await connection.fetch(sql.REAP_LEASES, PAGE, settings.retry_base_s)
            children = [row["id"] for row in rows if row["dead"] and row["has_parent"]]
            if children:
                await connection.execute(sql.ADVANCE_PLANS, children)
        done.dead += sum(row["dead"] for row in rows)
        done.returned += sum(not row["dead"] for row in rows)
        if len(rows) < PAGE:
            break
    done.promoted = await promote(connection)
    return done


async def promote(connection: asyncpg.Connection) -> int:
    """Make deferred tasks that are due runnable; returns how many."""
    total = 0
    while True:
        moved = int(await connection.fetchval(sql.PROMOTE, PAGE) or 0)
        total += moved
        if moved < PAGE:
            return total


async def expire(connection: asyncpg.Connection, settings: Settings) -> int:
    """Delete what is older than retention, at most a page of each kind; returns how many rows went."""
    kept_s, dead_s = settings.retention_finished_d * DAY_S, settings.retention_dead_d * DAY_S
    tags = [
        await connection.execute(sql.EXPIRE_EVENTS, kept_s, PAGE),
        await connection.execute(sql.EXPIRE_KEYS, kept_s, PAGE),
        await connection.execute(sql.EXPIRE_FINISHED, kept_s, dead_s, PAGE),
    ]
    return sum(int(tag.rsplit(" ", 1)[-1]) for tag in tags)


async def next_due(connection: asyncpg.Connection) -> float | None:
    """Seconds until the next deferred task is due (negative: it is); None when there is none."""
    due = await connection.fetchval(sql.NEXT_DUE)
    return None if due is None else float(due)
