"""Takes back the leases of a worker's last process, by what that has left of itself: what had not begun goes on at once
and without an attempt, what had begun is retried as its skill says."""

from collections.abc import Callable, Set
from typing import NamedTuple
from uuid import UUID

import asyncpg

from seedcore.tasks.deadlines import settle
from seedcore.tasks.reaping import MAX_UNCOUNTED
from seedcore.tasks.recovery.reaped_counts import count_lost_attempts
from seedcore.tasks.retry import jittered_s
from seedcore.tasks.sql.reap import OF_SESSION, TAKE_BACK

PAGE = 1000


class LastSession(NamedTuple):
    """What a worker's last process has left.

    Attributes:
        session: the one that it claimed with.
        begun: (task id, fencing token) of every lease of it that had begun and whose end may not have been written. All
            others had not begun.
        pause_s: the longest pause, in seconds, before a task of a type runs again after its attempt of a number.
    """

    session: UUID
    begun: Set[tuple[UUID, int]]
    pause_s: Callable[[str, int], float]


class TakenBack(NamedTuple):
    """How many tasks run again without an attempt, how many with one, and how many failed for want of one."""

    uncounted: int = 0
    retried: int = 0
    failed: int = 0


async def take_back(connection: asyncpg.Connection, last: LastSession) -> TakenBack:
    """Judge the leases of the session `last`, inside the caller's transaction.

    The caller ends that session in the same transaction: until then no reaper touches its leases. One that the reaper
    or another process judges at this moment, because the session had expired, is left to it.
    """
    done = TakenBack()
    while True:
        rows = await connection.fetch(OF_SESSION, last.session, PAGE)
        if not rows:
            return done
        keys = [(row["id"], row["token"]) for row in rows]
        pauses = [jittered_s(last.pause_s(row["type"], row["attempts"])) for row in rows]
        begun = [key in last.begun for key in keys]
        ids, tokens = map(list, zip(*keys, strict=True))
        judged = await connection.fetch(TAKE_BACK, ids, tokens, begun, pauses, MAX_UNCOUNTED)
        count_lost_attempts(judged)
        await settle(connection, [row["id"] for row in judged if row["follow_up"]])
        uncounted, failed = sum(row["unbegun"] for row in judged), sum(row["dead"] for row in judged)
        retried = len(judged) - uncounted - failed
        done = TakenBack(done.uncounted + uncounted, done.retried + retried, done.failed + failed)
