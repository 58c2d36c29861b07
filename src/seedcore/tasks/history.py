"""Ended tasks, for other rooms: what was decided about them, how and when they ended, and on which agent.

Codes in `NOT_FAILURES_OF_THE_WORK` (refusals by people, policy or budget) are left out where failures are counted.
"""

from typing import NamedTuple
from uuid import UUID

import asyncpg

from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK
from seedcore.tasks.sql.history import DEAD_BY_STREAM, DECISIONS, RECENT_ENDS, STEPS_BY_AGENT, STREAM_ENDS


class PastDecision(NamedTuple):
    """An ended task and its decision, as JSON text; `domain` is empty when it has none."""

    type: str
    domain: str
    priority: int
    attempts: int
    params_bytes: int
    decision: str


class StreamEnd(NamedTuple):
    """Whether a task completed, and how long its last attempt took; None: it failed."""

    ok: bool
    seconds: float | None


class TaskEnd(NamedTuple):
    """How a task of a stream ended, on which agent, and how long ago it was submitted."""

    stream: str
    ok: bool
    attempts: int
    code: str | None
    agent: str | None
    age_s: float


class StepsOfAgent(NamedTuple):
    """Steps of one plan that one agent ended, and how many of them completed; `open`: the plan has not ended."""

    plan: UUID
    open: bool
    agent: str
    steps: int
    completed: int


async def decisions(connection: asyncpg.Connection, limit: int) -> list[PastDecision]:
    """The newest `limit` ended tasks that have a decision."""
    return [PastDecision(*row) for row in await connection.fetch(DECISIONS, limit)]


async def stream_ends(connection: asyncpg.Connection, stream: str, scanned: int, limit: int) -> list[StreamEnd]:
    """Tasks of a stream (`type` or `domain/type`) by the time of their end, the newest first.

    Args:
        connection: where.
        stream: whose tasks.
        scanned: how many of the newest ended tasks of all streams are looked at.
        limit: how many of the stream are returned at most.
    """
    rows = await connection.fetch(STREAM_ENDS, stream, scanned, limit, NOT_FAILURES_OF_THE_WORK)
    return [StreamEnd(*row) for row in rows]


async def recent_ends(
    connection: asyncpg.Connection, within_s: float, limit: int, without: UUID | None = None
) -> list[TaskEnd]:
    """Ended tasks that were submitted within the last `within_s` seconds: the newest `limit`, except `without`."""
    rows = await connection.fetch(RECENT_ENDS, within_s, limit, without, NOT_FAILURES_OF_THE_WORK)
    return [TaskEnd(*row) for row in rows]


async def dead_by_stream(connection: asyncpg.Connection, within_s: float, limit: int) -> dict[str, int]:
    """Tasks that failed for good in the last `within_s` seconds, by stream; the newest `limit` at most."""
    rows = await connection.fetch(DEAD_BY_STREAM, within_s, limit, NOT_FAILURES_OF_THE_WORK)
    return {row["stream"]: row["dead"] for row in rows}


async def steps_by_agent(connection: asyncpg.Connection, within_s: float, plans: int) -> list[StepsOfAgent]:
    """Ended steps of the newest `plans` plans of the last `within_s` seconds, by plan and agent."""
    return [StepsOfAgent(*row) for row in await connection.fetch(STEPS_BY_AGENT, within_s, plans)]
