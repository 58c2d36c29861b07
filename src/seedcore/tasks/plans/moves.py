"""What was tried for escalated work: kept with the plan, settled when the plan ends, read to choose the next move.

The end is written by the SQL function `seedcore.move_ended` (`stores/migrations/functions/moves.sql`), in the
transaction in which a plan ends.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import asyncpg

from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK
from seedcore.tasks.model import Lease
from seedcore.tasks.sql.plans import (
    DIRECT_ENDS,
    FRESH,
    JOIN_SAMPLE,
    MOVE_ENDS,
    NOTE_MOVE,
    REMEMBERED,
    SAMPLE_ID,
    SAMPLE_OF,
    SETTLED,
    TRIED,
    WAITING,
)

SAMPLE_HOLD_S = 600.0
"""How long a stream is held for its first sample; then its tasks wait for a person no longer than any others do."""

MAX_ENDS, MAX_SCANNED, MAX_DIRECT, MAX_READY = 500, 2_000, 50, 2_000


class SampleFullError(Exception):
    """The stream's first sample has no place left: the task waits, for the reason that is the text."""


@dataclass(frozen=True, slots=True)
class MoveNote:
    """The move that a plan is; `sample`: the task is one of so many that run before the stream's others.

    `sample_after`: the stream's last sample, if it had ended when the move was chosen.
    """

    stream: str
    move: str
    detail: Mapping[str, object] = field(default_factory=dict)
    sample: int | None = None
    sample_after: UUID | None = None


class MoveEnds(NamedTuple):
    """How the newest plans of one move ended: how often it helped, of how many; mean steps and seconds of a plan."""

    move: str
    helped: int
    ends: int
    steps: float | None
    seconds: float | None


class SampleState(NamedTuple):
    """A stream's last first sample: `open`, `passed`, `failed` or `over`, since when, and how its tasks ended."""

    status: str
    age_s: float
    size: int
    good: int
    bad: int
    id: UUID | None = None


class DirectEnd(NamedTuple):
    """A run of a skill for a stream, without a plan or as a plan's step: whether it completed, else its error code.

    `changed`: it was escalated, or a step of a plan: it came after the work had changed.
    """

    ok: bool
    code: str | None = None
    changed: bool = True


class StreamHistory(NamedTuple):
    """What is known of a stream: ends by move, direct runs (the newest first), its sample, and how many tasks wait."""

    moves: list[MoveEnds]
    direct: list[DirectEnd]
    sample: SampleState | None
    waiting: int


class SettledMove(NamedTuple):
    """What a move came to for an incident of a stream: `helped` of `ends` plans, with so many steps on average.

    `direct_good` and `direct_bad` count direct runs after the work had changed, as they were when it was last tried.
    """

    tenant: str
    stream: str
    type: str
    move: str
    incident: str
    incident_id: str
    helped: int
    ends: int
    steps: float | None
    direct_good: int
    direct_bad: int


async def note_move(connection: asyncpg.Connection, lease: Lease, note: MoveNote) -> None:
    """Keep the move with the plan that is stored in this transaction.

    Raises:
        SampleFullError: the task is to be in a sample that has no place left.
    """
    detail = dict(note.detail)
    if note.sample is not None:
        why = await connection.fetchval(JOIN_SAMPLE, note.stream, note.sample, SAMPLE_HOLD_S, note.sample_after)
        if why is not None:
            raise SampleFullError(why)
        detail["sample"] = str(await connection.fetchval(SAMPLE_ID, note.stream))
    await connection.execute(NOTE_MOVE, lease.id, lease.tenant, note.stream, lease.type, note.move, json.dumps(detail))


async def read_stream(connection: asyncpg.Connection, stream: str, rule: str) -> StreamHistory:
    """What is known of a stream; see `StreamHistory`. At most the newest MAX_SCANNED ended tasks are looked through.

    Args:
        connection: where.
        stream: `type` or `domain/type`.
        rule: the rule that escalates the stream's tasks.
    """
    moves = [MoveEnds(*row) for row in await connection.fetch(MOVE_ENDS, stream, MAX_ENDS)]
    rows = await connection.fetch(DIRECT_ENDS, stream, rule, MAX_SCANNED, MAX_DIRECT, NOT_FAILURES_OF_THE_WORK)
    sample = await connection.fetchrow(SAMPLE_OF, stream, SAMPLE_HOLD_S)
    waiting = await connection.fetchval(WAITING, stream, MAX_READY)
    return StreamHistory(
        moves, [DirectEnd(*row) for row in rows], None if sample is None else SampleState(*sample), waiting
    )


async def tried(connection: asyncpg.Connection, task_id: UUID) -> list[str]:
    """The moves that were tried for a task, in order."""
    return [row["move"] for row in await connection.fetch(TRIED, task_id)]


async def settled(connection: asyncpg.Connection, limit: int) -> tuple[list[SettledMove], list[tuple[UUID, int]]]:
    """What at most `limit` ends that memory does not know of come to, with all earlier ones, and which these are."""
    keys = [(row["task_id"], row["n"]) for row in await connection.fetch(FRESH, limit)]
    if not keys:
        return [], []
    rows = await connection.fetch(SETTLED, [task for task, _ in keys], [n for _, n in keys])
    return [SettledMove(*row) for row in rows], keys


async def mark_remembered(connection: asyncpg.Connection, keys: Sequence[tuple[UUID, int]]) -> None:
    """Say that memory knows of these ends."""
    await connection.execute(REMEMBERED, [task for task, _ in keys], [n for _, n in keys])
