"""Store schedules: create, replace, find, pause, resume, remove. `tasks.schedules.firing` fires them.

A schedule belongs to a tenant, and is known by its id there: another one's of the same id is another schedule.
"""

import json
from dataclasses import asdict, replace
from datetime import datetime

import asyncpg

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.tasks.model import DEFAULT_TENANT, Submitted, TaskSpec
from seedcore.tasks.schedules.schedule import Schedule, ScheduleBody, ScheduleIn
from seedcore.tasks.schedules.validation import check_task, first_tick, next_tick
from seedcore.tasks.sql.schedules import (
    CLOCK,
    COUNT_FIRED,
    EXISTS,
    FIND,
    FIND_OF_TENANT,
    GET,
    INSERT,
    LOCK,
    LOCK_MAKING,
    MAX_SCHEDULES,
    NOTIFY_LATER,
    PAUSE,
    REMOVE,
    UPDATE,
)
from seedcore.tasks.submission.submit import submit
from seedcore.tasks.submission.tenancy import HERE, Origin, scoped
from seedcore.tasks.submission.validate import Submission


async def create(
    connection: asyncpg.Connection, submission: Submission, given: ScheduleIn, origin: Origin = HERE
) -> Schedule:
    """Create a schedule.

    Raises:
        InvalidInputError: names the field and what is allowed.
        TooLargeError: the task's params are over the limit.
        ConflictError: there is one of that id.
        PlatformOnlyError: its tasks would change what all tenants use, and `origin` may not.
    """
    task = check_task(submission, given.task, _untraced(origin))
    async with connection.transaction():
        made = await _insert(connection, scoped(origin.tenant, given.id), given, task)
    if made is None:
        raise ConflictError(f"There is a schedule {given.id!r} already: PUT replaces it.")
    return made


async def put(
    connection: asyncpg.Connection,
    submission: Submission,
    schedule_id: str,
    given: ScheduleBody,
    origin: Origin = HERE,
) -> tuple[Schedule, bool]:
    """Create or replace a schedule; returns it, and whether it is new. It stays paused if it was.

    A tick that is due and not fired yet is fired when the rhythm stays as it was, and forgotten otherwise.

    Raises:
        InvalidInputError: names the field and what is allowed.
        TooLargeError: the task's params are over the limit.
        ConflictError: another process makes one of that id at this moment.
        PlatformOnlyError: as `create`.
    """
    task = check_task(submission, given.task, _untraced(origin))
    stored = scoped(origin.tenant, schedule_id)
    async with connection.transaction():
        row = await connection.fetchrow(LOCK, stored)
        if row is None:
            made = await _insert(connection, stored, given, task)
            if made is None:
                raise ConflictError(f"Another request makes a schedule {schedule_id!r} at this moment; try again.")
            return made, True
        old = Schedule(*row)
        now = await connection.fetchval(CLOCK)
        rhythm, first = first_tick(given, old.created_at, now if old.last_at is None else max(now, old.last_at))
        kept = old.next_at if rhythm == old.rhythm else None
        next_at = None if old.paused else kept or first
        changed = await connection.fetchrow(UPDATE, *_values(stored, given, task, next_at, now))
        if next_at is not None:
            await connection.execute(NOTIFY_LATER, next_at)
    return Schedule(*changed), False


def _untraced(origin: Origin) -> Origin:
    """Every tick's task has a trace of its own, and is submitted by the schedule."""
    return Origin(origin.tenant, operates=origin.operates)


async def get(connection: asyncpg.Connection, schedule_id: str, tenant: str = DEFAULT_TENANT) -> Schedule:
    """One schedule.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = await connection.fetchrow(GET, scoped(tenant, schedule_id))
    return _found(row, schedule_id)


async def find(
    connection: asyncpg.Connection, after: str | None, limit: int, tenant: str | None = None
) -> list[Schedule]:
    """Schedules by id as they are stored, those behind `after`; of a tenant, or (None) of all."""
    statement, of_tenant = (FIND, ()) if tenant is None else (FIND_OF_TENANT, (tenant,))
    return [Schedule(*row) for row in await connection.fetch(statement, after or "", limit, *of_tenant)]


async def remove(connection: asyncpg.Connection, schedule_id: str, tenant: str = DEFAULT_TENANT) -> None:
    """Remove a schedule; the tasks that it submitted stay.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = await connection.fetchrow(REMOVE, scoped(tenant, schedule_id))
    if row is None:
        raise _missing(schedule_id)


async def pause(connection: asyncpg.Connection, schedule_id: str, tenant: str = DEFAULT_TENANT) -> Schedule:
    """Pause a schedule until `resume`; the ticks until then are not made up for.

    Raises:
        NotFoundError: there is none of that id.
    """
    return _found(await connection.fetchrow(PAUSE, scoped(tenant, schedule_id), True, None), schedule_id)


async def resume(connection: asyncpg.Connection, schedule_id: str, tenant: str = DEFAULT_TENANT) -> Schedule:
    """Resume a paused schedule with its next tick; changes nothing when it is not paused.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: it has ended.
        InvalidInputError: this machine does not know its time zone.
    """
    async with connection.transaction():
        old = _found(await connection.fetchrow(LOCK, scoped(tenant, schedule_id)), schedule_id)
        if not old.paused:
            return old
        now = await connection.fetchval(CLOCK)
        next_at = next_tick(old.rhythm, old.starts_at, now if old.last_at is None else max(now, old.last_at))
        if next_at is None:
            raise ConflictError(f"The schedule {schedule_id!r} has ended: PUT gives it another `ends_at`.")
        row = await connection.fetchrow(PAUSE, old.id, False, next_at)
        await connection.execute(NOTIFY_LATER, next_at)
    return _found(row, schedule_id)


async def fire_now(
    connection: asyncpg.Connection, schedule_id: str, key: str | None = None, origin: Origin = HERE
) -> Submitted:
    """Submit a schedule's task now, once, paused or not; its ticks stay as they are.

    Args:
        connection: where.
        schedule_id: whose task.
        origin: who asks for it, whose schedule it is, and in which trace.
        key: idempotency key instead of the moment's, so that a client may ask again.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: the key was used for another task.
    """
    async with connection.transaction():
        schedule = _found(await connection.fetchrow(LOCK, scoped(origin.tenant, schedule_id)), schedule_id)
        now = await connection.fetchval(CLOCK)
        task = replace(schedule.task(now, key), traceparent=origin.traceparent, by=origin.by)
        (submitted,) = await submit(connection, [task])
        if submitted.created:
            await connection.execute(COUNT_FIRED, schedule.id, 1, now, submitted.id)
    return submitted


async def _insert(
    connection: asyncpg.Connection, schedule_id: str, given: ScheduleBody, task: TaskSpec
) -> Schedule | None:
    await connection.execute(LOCK_MAKING)
    now = await connection.fetchval(CLOCK)
    _, next_at = first_tick(given, now, now)
    row = await connection.fetchrow(INSERT, *_values(schedule_id, given, task, next_at, now), task.tenant)
    if row is not None:
        await connection.execute(NOTIFY_LATER, next_at)
        return Schedule(*row)
    if not await connection.fetchval(EXISTS, schedule_id):
        message = f"there are {MAX_SCHEDULES} schedules of this tenant, no more are allowed: delete one"
        raise InvalidInputError.for_field("id", message)
    return None


def _values(
    schedule_id: str, given: ScheduleBody, task: TaskSpec, next_at: datetime | None, now: datetime
) -> tuple[object, ...]:
    limit = None
    if task.limits:
        limit = json.dumps([asdict(each) for each in task.limits])
    elif task.limit is not None:
        limit = json.dumps({name: getattr(task.limit, name) for name in ("key", "max_running", "rate_per_s", "burst")})
    template = (task.type, task.params, task.queue, task.slow, task.domain, task.priority)
    bounds = (task.max_attempts, task.timeout_s, limit)
    rhythm = (given.cron, given.every_s, given.timezone, given.catch_up, given.max_catch_up)
    return (schedule_id, *template, *bounds, *rhythm, given.starts_at, given.ends_at, next_at, now)


def _found(row: asyncpg.Record | None, schedule_id: str) -> Schedule:
    if row is None:
        raise _missing(schedule_id)
    return Schedule(*row)


def _missing(schedule_id: str) -> NotFoundError:
    return NotFoundError(f"There is no schedule {schedule_id!r}.")
