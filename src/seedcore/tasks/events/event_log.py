"""The log of everything that happens to tasks, readable from any point on without a gap.

Transactions commit in another order than their events are numbered in, so a reader that asks for "higher numbers" can
miss what commits late. This one asks for what has become visible since the snapshot that it read last: transactions
that snapshot did not know, and those that were under way in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from seedcore.stores.resume_point import Snapshot, not_a_position, position_ahead
from seedcore.tasks.sql.events import CURRENT_SNAPSHOT, LOG, LOG_NEAR
from seedcore.tasks.sql.reads import OWNED

MAX_TICK_DIGITS = 100

NEAR = 64
"""Of so many transactions the events are looked up one by one, in the order of milliseconds at most."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log: everything visible in `seen`, and of what `upto` adds to it everything up to `tick`.

    As text: `seen~upto~tick`.
    """

    seen: Snapshot
    upto: Snapshot
    tick: int

    def __str__(self) -> str:
        return f"{self.seen}~{self.upto}~{self.tick}"

    @property
    def is_settled(self) -> bool:
        """Whether what it has begun to read has been read to its end."""
        return self.seen == self.upto

    @property
    def is_near(self) -> bool:
        """Whether few transactions lie between its snapshots."""
        return len(self.seen.running) + self.upto.xmax - self.seen.xmax <= NEAR

    @classmethod
    def parse(cls, text: str) -> "Position":
        """From an entry's id.

        Raises:
            InvalidInputError: it is none.
        """
        parts = text.split("~")
        if len(parts) != 3 or not parts[2].isdecimal() or len(parts[2]) > MAX_TICK_DIGITS:
            raise not_a_position()
        return cls(Snapshot.parse(parts[0]), Snapshot.parse(parts[1]), min(int(parts[2]), 2**63 - 1))


START = Position(Snapshot.parse("3:3:"), Snapshot.parse("3:3:"), 0)
"""Before everything that retention has kept."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that happened, to one task or to a whole batch."""

    position: Position
    event: str
    at: datetime
    task_ids: list[UUID]
    data: Mapping[str, object]


async def check_reached(connection: asyncpg.Connection, position: Position) -> None:
    """Check that this database has been at that position.

    Raises:
        EventIdAheadError: its transactions have not come so far; a reader would miss what follows.
    """
    now = await _current(connection)
    if max(position.seen.xmax, position.upto.xmax) > now.xmax:
        raise position_ahead()


async def read_log(
    connection: asyncpg.Connection, after: Position | None, limit: int, *, near: bool = False
) -> tuple[list[LogEntry], Position]:
    """Up to `limit` entries after a position (None: none yet, from now on), and the position to go on from.

    With `near`, for a settled position and a connection whose plans are made once (ENGINE_SESSION): none where more
    than a few transactions have come since; the position then is not settled, and another connection reads on from it.
    """
    if after is None:
        now = await _current(connection)
        return [], Position(now, now, 0)
    entries = [] if after.is_settled else await _page(connection, after, limit)
    if len(entries) == limit:
        return entries, entries[-1].position
    # That difference is read to its end: the next one begins at its newer snapshot.
    now = await _current(connection)
    following = Position(after.upto, now, 0)
    if now == after.upto or (near and not following.is_near):
        return entries, following
    more = await _page(connection, following, limit - len(entries))
    entries += more
    return entries, entries[-1].position if len(entries) == limit else Position(now, now, 0)


async def entries_of(connection: asyncpg.Connection, entries: Sequence[LogEntry], tenant: str) -> list[LogEntry]:
    """What these entries say of a tenant's tasks; those that say nothing of them are left out."""
    ids = {task_id for entry in entries for task_id in entry.task_ids}
    own = {row["id"] for row in await connection.fetch(OWNED, list(ids), tenant)} if ids else set()
    kept = [replace(entry, task_ids=[i for i in entry.task_ids if i in own]) for entry in entries]
    return [entry for entry in kept if entry.task_ids]


async def _current(connection: asyncpg.Connection) -> Snapshot:
    return Snapshot.parse(await connection.fetchval(CURRENT_SNAPSHOT))


async def _page(connection: asyncpg.Connection, after: Position, limit: int) -> list[LogEntry]:
    running = [str(number) for number in after.seen.running]
    if after.is_near:
        new = map(str, range(after.seen.xmax, after.upto.xmax))
        rows = await connection.fetch(LOG_NEAR, [*running, *new], str(after.upto), after.tick, limit)
    else:
        rows = await connection.fetch(LOG, str(after.seen.xmax), running, str(after.upto), after.tick, limit)
    return [
        LogEntry(
            Position(after.seen, after.upto, row["tick"]),
            row["event"],
            row["at"],
            row["task_ids"],
            json.loads(row["data"]),
        )
        for row in rows
    ]
