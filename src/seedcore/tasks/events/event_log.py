"""The log of everything that happens to tasks, readable from any point on without a gap.

Transactions commit in another order than their events are numbered in, so a reader that asks for "higher numbers" can
miss what commits late. This one asks for what has become visible since the snapshot that it read last: transactions
that snapshot did not know, and those that were under way in it.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.errors import EventIdAheadError, FieldError, InvalidInputError
from seedcore.tasks import sql

SNAPSHOT = re.compile(r"\d{1,20}:\d{1,20}:(\d{1,20}(,\d{1,20}){0,999})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log: everything visible in `seen`, and of what `upto` adds to it everything up to `tick`.

    Snapshots are texts of pg_snapshot (`xmin:xmax:xip`). As text: `seen~upto~tick`.
    """

    seen: str
    upto: str
    tick: int

    def __str__(self) -> str:
        return f"{self.seen}~{self.upto}~{self.tick}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """From an entry's id.

        Raises:
            InvalidInputError: it is none.
        """
        parts = text.split("~")
        if len(parts) == 3 and _is_snapshot(parts[0]) and _is_snapshot(parts[1]) and parts[2].isdecimal():
            return cls(parts[0], parts[1], min(int(parts[2]), 2**63 - 1))
        message = "not the id of an event of this log; leave it out to begin with what happens from now on"
        raise InvalidInputError(message, errors=[FieldError("Last-Event-ID", message)])


def _is_snapshot(text: str) -> bool:
    """Whether PostgreSQL reads it as one: 0 < xmin <= each of xip, which rise, < xmax."""
    if SNAPSHOT.fullmatch(text) is None:
        return False
    xmin, xmax, running = text.split(":")
    low, high, inner = int(xmin), int(xmax), [int(number) for number in running.split(",") if number]
    return 0 < low <= high and inner == sorted(inner) and all(low <= number < high for number in inner)


START = Position("3:3:", "3:3:", 0)
"""Before everything that retention has kept."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that happened, to one task or to a whole batch."""

    position: Position
    event: str
    at: datetime
    task_ids: list[UUID]
    data: dict[str, Any]


async def check_reached(connection: asyncpg.Connection, position: Position) -> None:
    """Nothing when this database has been at that position.

    Raises:
        EventIdAheadError: its transactions have not come so far; whoever waited for what follows would miss it.
    """
    _, now, _ = (await connection.fetchval(sql.SNAPSHOT)).split(":")
    if any(int(number) > int(now) for number in re.findall(r"\d+", f"{position.seen}~{position.upto}")):
        message = "later than everything in this log: of another database, or of this one before it was restored"
        raise EventIdAheadError(
            f"Last-Event-ID is {message}; leave it out to begin with what happens from now on.",
            errors=[FieldError("Last-Event-ID", message)],
        )


async def read_log(
    connection: asyncpg.Connection, after: Position | None, limit: int
) -> tuple[list[LogEntry], Position]:
    """Up to `limit` entries after a position (None: none yet, from now on), and the position to go on from."""
    if after is None:
        now = await connection.fetchval(sql.SNAPSHOT)
        return [], Position(now, now, 0)
    entries = [] if after.seen == after.upto else await _page(connection, after, limit)
    if len(entries) == limit:
        return entries, entries[-1].position
    # That difference is read to its end: the next one begins at its newer snapshot.
    now = await connection.fetchval(sql.SNAPSHOT)
    following = Position(after.upto, now, 0)
    if now == after.upto:
        return entries, following
    more = await _page(connection, following, limit - len(entries))
    entries += more
    return entries, entries[-1].position if len(entries) == limit else Position(now, now, 0)


async def _page(connection: asyncpg.Connection, after: Position, limit: int) -> list[LogEntry]:
    _, unknown, running = after.seen.split(":")
    rows = await connection.fetch(
        sql.LOG, unknown, running.split(",") if running else [], after.upto, after.tick, limit
    )
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
