"""Fire schedules: exactly one task a tick, whichever process fires.

A schedule's row is locked; its next tick moves on and the tasks of the ticks that are due are submitted, all in one
transaction. If a tick is fired twice all the same, its idempotency key gives the first task.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg

from seedcore.errors import ConflictError, InvalidInputError
from seedcore.tasks.model import Submitted, TaskSpec
from seedcore.tasks.schedules.schedule import Schedule
from seedcore.tasks.sql.schedules import DUE, MOVE
from seedcore.tasks.submission.submit import submit
from seedcore.telemetry.logs import get_logger

GRACE = timedelta(seconds=60)
"""A tick that is late by no more was not missed: a change of the reaper or a restart takes that long."""

PAGE = 200
MAX_TASKS = 500
MAX_BYTES = 16 * 1024 * 1024
MAX_PAGES = 10


@dataclass(slots=True)
class Fired:
    """What a round did: tasks submitted, ticks left out, schedules that could not be fired."""

    fired: int = 0
    skipped: int = 0
    broken: int = 0


@dataclass(slots=True)
class Firing:
    """The firing of one schedule: the ticks to fire, those left out, and the next one."""

    schedule: Schedule
    ticks: list[datetime] = field(default_factory=list)
    skipped: int = 0
    next_at: datetime | None = None
    error: str | None = None
    broken: bool = False
    fired: list[tuple[datetime, Submitted]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Size of its tasks' params."""
        return len(self.schedule.params) * len(self.ticks)

    def tasks(self) -> list[TaskSpec]:
        """The tasks of its ticks."""
        return [self.schedule.task(tick) for tick in self.ticks]

    def record(self, submitted: Sequence[Submitted]) -> None:
        """Record the answers for its tasks."""
        self.fired = list(zip(self.ticks, submitted, strict=True))


def judge(schedule: Schedule, now: datetime) -> Firing:
    """Which ticks of a schedule that is due are fired now, by its catch-up policy. A broken one is paused."""
    assert schedule.next_at is not None
    try:
        rhythm = schedule.rhythm
        ticks, missed = rhythm.due(schedule.next_at, now, schedule.max_catch_up if schedule.catch_up == "all" else 1)
        if schedule.catch_up == "skip" and now - ticks[-1] > GRACE:
            ticks, missed = [], missed + len(ticks)
        return Firing(schedule, ticks, missed, rhythm.after(now))
    except InvalidInputError as error:
        return Firing(schedule, error=error.detail, broken=True)


async def fire(connection: asyncpg.Connection) -> Fired:
    """Fire what is due, some pages of it."""
    done = Fired()
    for _ in range(MAX_PAGES):
        async with connection.transaction():
            rows = await connection.fetch(DUE, PAGE)
            batch: list[Firing] = []
            tasks = size = 0
            for row in rows:
                if tasks >= MAX_TASKS or size >= MAX_BYTES:
                    break
                *values, now = row
                # Finding missed ticks takes milliseconds; a dispatcher that stands in for the reaper has other work.
                await asyncio.sleep(0)
                batch.append(judge(Schedule(*values), now))
                tasks, size = tasks + len(batch[-1].ticks), size + batch[-1].bytes
            if batch:
                await _submit(connection, batch)
                await _move(connection, batch)
        _add(done, batch)
        if len(batch) == len(rows) < PAGE:
            break
    return done


async def _submit(connection: asyncpg.Connection, batch: Sequence[Firing]) -> None:
    """Submit the tasks of all; when one of them is refused, each schedule's by itself."""
    try:
        async with connection.transaction():
            submitted = await submit(connection, [task for firing in batch for task in firing.tasks()])
    except (ConflictError, InvalidInputError):
        for firing in batch:
            await _submit_one(connection, firing)
        return
    begin = 0
    for firing in batch:
        firing.record(submitted[begin : begin + len(firing.ticks)])
        begin += len(firing.ticks)


async def _submit_one(connection: asyncpg.Connection, firing: Firing) -> None:
    """Submit one schedule's tasks; a tick whose key belongs to another task is left out."""
    fired = []
    for tick, task in zip(firing.ticks, firing.tasks(), strict=True):
        try:
            async with connection.transaction():
                fired.append((tick, (await submit(connection, [task]))[0]))
        except (ConflictError, InvalidInputError) as error:
            firing.error = f"tick {tick.isoformat()}: {error.detail}"
            firing.skipped += 1
    firing.fired = fired


async def _move(connection: asyncpg.Connection, batch: Sequence[Firing]) -> None:
    await connection.execute(
        MOVE,
        [f.schedule.id for f in batch],
        [f.next_at for f in batch],
        [f.fired[-1][0] if f.fired else None for f in batch],
        [f.fired[-1][1].id if f.fired else None for f in batch],
        [sum(task.created for _, task in f.fired) for f in batch],
        [f.skipped for f in batch],
        [f.error for f in batch],
        [f.broken for f in batch],
    )


def _add(done: Fired, batch: Sequence[Firing]) -> None:
    log = get_logger("seedcore.tasks.schedules.firing")
    for firing in batch:
        done.fired += sum(task.created for _, task in firing.fired)
        done.skipped += firing.skipped
        if firing.error is not None:
            done.broken += 1
            whose = {"schedule": firing.schedule.name, "tenant": firing.schedule.tenant}
            log.warning("schedule not fired", **whose, paused=firing.broken, reason=firing.error)
