"""Ended tasks, for other rooms: what was decided about them, how and when they ended, and on which agent.

Codes in `NOT_FAILURES_OF_THE_WORK` (refusals by people, policy or budget) are left out where failures are counted.
"""

from typing import NamedTuple
from uuid import UUID

import asyncpg

from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK, FailureCode
from seedcore.tasks.sql.history import (
    DEAD_BY_STREAM,
    DECISIONS,
    ENDED_WORK,
    ENDS_BY_TYPE,
    RECENT_ENDS,
    STEPS_BY_AGENT,
    STREAM_ENDS,
    UNREACHED_GOALS,
)


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


class EndedWork(NamedTuple):
    """An ended task of any tenant: what was known of it beforehand, and what became of it. Never its params.

    Attributes:
        stream: `type` or `domain/type`.
        created_s, finished_s: seconds since 1970.
        seconds: of its last attempt; None: it never began.
        failed: for good, and not by a refusal.
        escalated: it was sent to be planned, neither as a goal nor by a recipe.
        approval: a person released or refused it.
        evidence: of a change in its stream when it was decided about; None: unknown.
        money: what its attempts said that they spent; None: they said nothing.
    """

    stream: str
    type: str
    priority: int
    attempts: int
    params_bytes: int
    created_s: float
    finished_s: float
    seconds: float | None
    failed: bool
    escalated: bool
    approval: bool
    evidence: float | None
    money: float | None


_BY_A_PERSON = (FailureCode.APPROVAL_REJECTED, FailureCode.APPROVAL_EXPIRED)
_ROUTINE = ("goal", "recipe")
"""Rules whose plans are no escalation."""


async def ended_work(connection: asyncpg.Connection, limit: int, within_s: float | None) -> list[EndedWork]:
    """The newest `limit` ended tasks that were not cancelled, in the order of submission.

    Args:
        connection: where.
        limit: how many at most.
        within_s: only those that were submitted within so many seconds; None: all.
    """
    rows = await connection.fetch(ENDED_WORK, limit, within_s, NOT_FAILURES_OF_THE_WORK, _BY_A_PERSON, _ROUTINE)
    return [EndedWork(*row) for row in rows]


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


class EndsOfType(NamedTuple):
    """Ended tasks of a type that share a failure code and a rule; without a code they completed.

    `seconds` is the mean time of their last attempts; `newest_s` and `oldest_s` say how long ago they were submitted.
    """

    type: str
    code: str | None
    rule: str | None
    ends: int
    attempts: int
    seconds: float | None
    newest_s: float
    oldest_s: float


class UnreachedGoal(NamedTuple):
    """A goal task that failed because no plan was found, as it was asked: JSON text."""

    goal: str | None
    inputs: str | None


async def ends_by_type(
    connection: asyncpg.Connection, within_s: float, limit: int, tenant: str | None = None
) -> list[EndsOfType]:
    """How the newest `limit` tasks that were submitted in the last `within_s` seconds ended, by type, code and rule."""
    return [EndsOfType(*row) for row in await connection.fetch(ENDS_BY_TYPE, within_s, limit, tenant)]


async def unreached_goals(
    connection: asyncpg.Connection, codes: tuple[str, ...], within_s: float, limit: int, tenant: str | None = None
) -> list[UnreachedGoal]:
    """Goal tasks that failed with one of `codes`, the newest `limit`."""
    return [
        UnreachedGoal(*row) for row in await connection.fetch(UNREACHED_GOALS, list(codes), within_s, limit, tenant)
    ]
