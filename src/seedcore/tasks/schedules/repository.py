"""Schedules: what fires again and again, and the task that each firing submits. `tasks.schedules.firing` fires them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from seedcore.errors import ConflictError, FieldError, InvalidInputError, NotFoundError, TooLargeError
from seedcore.tasks.model import Limit, NewTask, Submitted
from seedcore.tasks.schedules.tick_times import Rhythm
from seedcore.tasks.submission.submit import submit
from seedcore.tasks.submission.validate import Submission

MOST = 10_000
"""Schedules that a database holds."""

_MAKING = 24303
"""The advisory lock of those who make a schedule: they count them one after the other."""

_NOT_OURS = ("run_after", "deadline", "idempotency_key", "idempotency_period_s")

ScheduleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _representable(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 2999:
        raise ValueError("must lie in the years 1970 to 2999")
    return moment


_Moment = Annotated[AwareDatetime, AfterValidator(_representable)]


class ScheduleBody(BaseModel):
    """What a schedule does, and when."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    task: dict[str, Any] = Field(
        description="what each firing submits: type, params, queue, domain, priority, max_attempts, timeout_s, limit"
    )
    cron: str | None = Field(
        None,
        max_length=200,
        description="minute hour day month weekday, in `timezone`; either this or `every_s`. A time that does not "
        "exist fires at the first moment after the gap, one that comes twice the first time; a line whose minute or "
        "hour begins with * goes by the clock on the wall",
    )
    every_s: float | None = Field(None, ge=1, le=366 * 86_400, description="seconds from tick to tick")
    timezone: str = Field("UTC", max_length=100, description="name in the IANA database, such as Europe/Berlin")
    catch_up: Literal["skip", "last", "all"] = Field(
        "skip",
        description="ticks missed while nobody could fire them: `skip` goes on with the next one (a tick that is at "
        "most 60 s late is not missed), `last` fires once for all, `all` fires each, the newest `max_catch_up`",
    )
    max_catch_up: int = Field(100, ge=1, le=100)
    starts_at: _Moment | None = Field(None, description="no tick before it; an interval's first tick")
    ends_at: _Moment | None = Field(None, description="no tick after it")


class ScheduleIn(ScheduleBody):
    """A schedule to make."""

    id: ScheduleId


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is stored; JSON fields are text.

    Attributes:
        next_at: the tick to be fired next; None while it is paused and when it has ended.
        fired: tasks that it submitted.
        skipped: ticks left out by its catch-up policy, counted up to `ticks.COUNTED` for one gap.
        error: why it could not be fired the last time; None when it could.
    """

    id: str
    type: str
    params: str
    queue: str
    slow: bool
    domain: str | None
    priority: int
    max_attempts: int
    timeout_s: float | None
    task_limit: str | None
    cron: str | None
    every_s: float | None
    timezone: str
    catch_up: str
    max_catch_up: int
    starts_at: datetime | None
    ends_at: datetime | None
    paused: bool
    next_at: datetime | None
    last_at: datetime | None
    last_task_id: UUID | None
    fired: int
    skipped: int
    error: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def rhythm(self) -> Rhythm:
        """When it fires."""
        return Rhythm(self.cron, self.every_s, self.timezone, self.starts_at or self.created_at, self.ends_at)

    def task(self, moment: datetime, key: str | None = None) -> NewTask:
        """The task of a firing at that tick; its idempotency key names schedule and tick."""
        return NewTask(
            type=self.type,
            params=self.params,
            queue=self.queue,
            domain=self.domain,
            priority=self.priority,
            max_attempts=self.max_attempts,
            timeout_s=self.timeout_s,
            slow=self.slow,
            limit=None if self.task_limit is None else Limit(**json.loads(self.task_limit)),
            idempotency_key=key or f"schedule:{self.id}:{moment.astimezone(UTC).isoformat()}",
        )

    def upcoming(self, count: int) -> list[datetime]:
        """The next ticks; none while it is paused and when it has ended."""
        return [] if self.next_at is None else [self.next_at, *self.rhythm.upcoming(self.next_at, count - 1)]

    def json(self) -> dict[str, Any]:
        """As the API shows it."""
        times = ("starts_at", "ends_at", "next_at", "last_at", "created_at", "updated_at")
        plain = ("id", "cron", "every_s", "timezone", "catch_up", "max_catch_up", "paused", "fired", "skipped", "error")
        template = ("type", "queue", "domain", "priority", "max_attempts")
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: None if (at := getattr(self, name)) is None else at.isoformat() for name in times},
            "last_task_id": None if self.last_task_id is None else str(self.last_task_id),
            "task": {
                **{name: getattr(self, name) for name in template},
                "params": json.loads(self.params),
                # PostgreSQL keeps a `real`: 0.1 would come back as 0.10000000149.
                "timeout_s": None if self.timeout_s is None else float(f"{self.timeout_s:.7g}"),
                "limit": None if self.task_limit is None else json.loads(self.task_limit),
            },
        }


# The columns stand in the order of Schedule's fields.
COLUMNS = """
id, type, params::text, queue, slow, domain, priority, max_attempts, timeout_s, task_limit::text, cron, every_s,
timezone, catch_up, max_catch_up, starts_at, ends_at, paused, next_at, last_at, last_task_id, fired, skipped, error,
created_at, updated_at
"""
_LOCK = f"select {COLUMNS} from seedcore.schedules where id = $1 for update"  # noqa: S608
# A statement of its own, after the lock: now() is older than a lock that was waited for.
_CLOCK = "select clock_timestamp()"
_DEFINED = """
id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, task_limit, cron, every_s, timezone, catch_up,
max_catch_up, starts_at, ends_at, next_at, updated_at
"""
_INSERT = f"""
insert into seedcore.schedules ({_DEFINED}, created_at)
select $1, $2, $3::jsonb, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15, $16, $17, $18, $19::timestamptz,
       $19
where (select count(*) from seedcore.schedules) < {MOST}
on conflict (id) do nothing returning {COLUMNS}
"""  # noqa: S608
_UPDATE = f"""
update seedcore.schedules set ({_DEFINED}, error)
     = ($1, $2, $3::jsonb, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15, $16, $17, $18, $19, null)
where id = $1 returning {COLUMNS}
"""  # noqa: S608
_PAUSE = f"""
update seedcore.schedules set paused = $2, next_at = $3, error = case when $2 then error end
where id = $1 returning {COLUMNS}
"""  # noqa: S608
_FIRED = """
update seedcore.schedules set fired = fired + $2, last_at = $3, last_task_id = $4 where id = $1
"""
# Wakes the reaper, which sleeps until what it knew to be next.
_LATER = "select pg_notify('seedcore_later', extract(epoch from $1::timestamptz - now())::text)"


async def create(connection: asyncpg.Connection, submission: Submission, given: ScheduleIn) -> Schedule:
    """Make a schedule.

    Raises:
        InvalidInputError: names the field and what is allowed.
        TooLargeError: the task's params are over the limit.
        ConflictError: there is one of that id.
    """
    task = _template(submission, given.task)
    async with connection.transaction():
        made = await _insert(connection, given.id, given, task)
    if made is None:
        raise ConflictError(f"There is a schedule {given.id!r} already: PUT replaces it.")
    return made


async def put(
    connection: asyncpg.Connection, submission: Submission, schedule_id: str, given: ScheduleBody
) -> tuple[Schedule, bool]:
    """Define a schedule, whole; says whether it is new. It stays paused if it was.

    A tick that is due and not fired yet is fired when the rhythm stays as it was, and forgotten otherwise.

    Raises:
        InvalidInputError: names the field and what is allowed.
        TooLargeError: the task's params are over the limit.
        ConflictError: somebody else made one of that id in the same moment.
    """
    task = _template(submission, given.task)
    async with connection.transaction():
        row = await connection.fetchrow(_LOCK, schedule_id)
        if row is None:
            made = await _insert(connection, schedule_id, given, task)
            if made is None:
                raise ConflictError(f"Somebody makes a schedule {schedule_id!r} at this moment; try again.")
            return made, True
        old = Schedule(*row)
        now = await connection.fetchval(_CLOCK)
        rhythm, first = _first(given, old.created_at, now if old.last_at is None else max(now, old.last_at))
        kept = old.next_at if rhythm == old.rhythm else None
        next_at = None if old.paused else kept or first
        changed = await connection.fetchrow(_UPDATE, *_values(schedule_id, given, task, next_at, now))
        if next_at is not None:
            await connection.execute(_LATER, next_at)
    return Schedule(*changed), False


async def get(connection: asyncpg.Connection, schedule_id: str) -> Schedule:
    """One schedule.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = await connection.fetchrow(f"select {COLUMNS} from seedcore.schedules where id = $1", schedule_id)  # noqa: S608
    return _found(row, schedule_id)


async def find(connection: asyncpg.Connection, after: str | None, limit: int) -> list[Schedule]:
    """Schedules by id, those behind `after`."""
    statement = f"select {COLUMNS} from seedcore.schedules where id > $1 order by id limit $2"  # noqa: S608
    return [Schedule(*row) for row in await connection.fetch(statement, after or "", limit)]


async def remove(connection: asyncpg.Connection, schedule_id: str) -> None:
    """Forget a schedule; what it submitted stays.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = await connection.fetchrow("delete from seedcore.schedules where id = $1 returning id", schedule_id)
    if row is None:
        raise _missing(schedule_id)


async def pause(connection: asyncpg.Connection, schedule_id: str) -> Schedule:
    """Let a schedule fire no more until `resume`; the ticks until then are not made up for.

    Raises:
        NotFoundError: there is none of that id.
    """
    return _found(await connection.fetchrow(_PAUSE, schedule_id, True, None), schedule_id)


async def resume(connection: asyncpg.Connection, schedule_id: str) -> Schedule:
    """Let a paused schedule go on with its next tick; changes nothing when it is not paused.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: it has ended.
        InvalidInputError: this machine does not know its time zone.
    """
    async with connection.transaction():
        old = _found(await connection.fetchrow(_LOCK, schedule_id), schedule_id)
        if not old.paused:
            return old
        now = await connection.fetchval(_CLOCK)
        next_at = _next(old.rhythm, old.starts_at, now if old.last_at is None else max(now, old.last_at))
        if next_at is None:
            raise ConflictError(f"The schedule {schedule_id!r} has ended: PUT gives it another `ends_at`.")
        row = await connection.fetchrow(_PAUSE, schedule_id, False, next_at)
        await connection.execute(_LATER, next_at)
    return _found(row, schedule_id)


async def fire_now(connection: asyncpg.Connection, schedule_id: str, key: str | None = None) -> Submitted:
    """Submit a schedule's task now, once, paused or not; its ticks stay as they are.

    Args:
        connection: where.
        schedule_id: whose task.
        key: idempotency key instead of the moment's, so that a client may ask again.

    Raises:
        NotFoundError: there is none of that id.
        ConflictError: the key was used for another task.
    """
    async with connection.transaction():
        schedule = _found(await connection.fetchrow(_LOCK, schedule_id), schedule_id)
        now = await connection.fetchval(_CLOCK)
        (submitted,) = await submit(connection, [schedule.task(now, key)])
        if submitted.created:
            await connection.execute(_FIRED, schedule_id, 1, now, submitted.id)
    return submitted


async def _insert(
    connection: asyncpg.Connection, schedule_id: str, given: ScheduleBody, task: NewTask
) -> Schedule | None:
    await connection.execute("select pg_advisory_xact_lock($1, 0)", _MAKING)
    now = await connection.fetchval(_CLOCK)
    _, next_at = _first(given, now, now)
    row = await connection.fetchrow(_INSERT, *_values(schedule_id, given, task, next_at, now))
    if row is not None:
        await connection.execute(_LATER, next_at)
        return Schedule(*row)
    if not await connection.fetchval("select exists (select 1 from seedcore.schedules where id = $1)", schedule_id):
        message = f"there are {MOST} schedules, no more are allowed: delete one"
        raise InvalidInputError.for_field("id", message)
    return None


def _template(submission: Submission, fields: dict[str, Any]) -> NewTask:
    wrong = [FieldError(f"task.{name}", "a schedule sets it") for name in _NOT_OURS if name in fields]
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    try:
        return submission.check(fields)
    except (InvalidInputError, TooLargeError) as error:
        below = [FieldError(f"task.{e.field}", e.message) for e in error.errors]
        raise type(error)(f"task: {error.detail}", errors=below, **error.extra) from None


def _first(given: ScheduleBody, created_at: datetime, now: datetime) -> tuple[Rhythm, datetime]:
    """The rhythm, and its first tick after `now`."""
    if (given.cron is None) == (given.every_s is None):
        raise _wrong("cron", "give either `cron` or `every_s`")
    rhythm = Rhythm(given.cron, given.every_s, given.timezone, given.starts_at or created_at, given.ends_at)
    rhythm.check()
    if given.starts_at and given.ends_at and given.ends_at < given.starts_at:
        raise _wrong("ends_at", "is before `starts_at`")
    next_at = _next(rhythm, given.starts_at, now)
    if next_at is None:
        raise _wrong("ends_at", "leaves no tick from now on")
    return rhythm, next_at


def _next(rhythm: Rhythm, starts_at: datetime | None, now: datetime) -> datetime | None:
    if starts_at is None or starts_at <= now:
        return rhythm.after(now)
    return rhythm.at_or_after(starts_at)


def _values(
    schedule_id: str, given: ScheduleBody, task: NewTask, next_at: datetime | None, now: datetime
) -> tuple[Any, ...]:
    limit = None
    if task.limit is not None:
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


def _wrong(field: str, message: str) -> InvalidInputError:
    return InvalidInputError.for_field(field, message)
