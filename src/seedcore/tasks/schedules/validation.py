"""Check a schedule: its task, its times, and that it has a tick left."""

from collections.abc import Mapping
from datetime import datetime

from seedcore.errors import FieldError, InvalidInputError, TooLargeError
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.schedules.next_fire_time import Rhythm
from seedcore.tasks.schedules.schedule import ScheduleBody
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.tasks.submission.validate import Submission

_SET_BY_SCHEDULE = ("run_after", "deadline", "idempotency_key", "idempotency_period_s")


def check_task(submission: Submission, fields: Mapping[str, object], origin: Origin = HERE) -> TaskSpec:
    """The task of a schedule, checked; errors name `task.FIELD`.

    Raises:
        InvalidInputError: a field is wrong, or is one that the schedule sets.
        TooLargeError: its params are over the limit.
    """
    wrong = [FieldError(f"task.{name}", "a schedule sets it") for name in _SET_BY_SCHEDULE if name in fields]
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    try:
        return submission.check(fields, origin)
    except (InvalidInputError, TooLargeError) as error:
        below = [FieldError(f"task.{e.field}", e.message) for e in error.errors]
        raise type(error)(f"task: {error.detail}", errors=below, **error.extra) from None


def first_tick(given: ScheduleBody, created_at: datetime, now: datetime) -> tuple[Rhythm, datetime]:
    """The rhythm, and its first tick after `now`.

    Raises:
        InvalidInputError: names the field of its times that is wrong; it leaves no tick.
    """
    if (given.cron is None) == (given.every_s is None):
        raise InvalidInputError.for_field("cron", "give either `cron` or `every_s`")
    rhythm = Rhythm(given.cron, given.every_s, given.timezone, given.starts_at or created_at, given.ends_at)
    rhythm.check()
    if given.starts_at and given.ends_at and given.ends_at < given.starts_at:
        raise InvalidInputError.for_field("ends_at", "is before `starts_at`")
    next_at = next_tick(rhythm, given.starts_at, now)
    if next_at is None:
        raise InvalidInputError.for_field("ends_at", "leaves no tick from now on")
    return rhythm, next_at


def next_tick(rhythm: Rhythm, starts_at: datetime | None, now: datetime) -> datetime | None:
    """The first tick after `now` and not before `starts_at`; None: there is none any more."""
    if starts_at is None or starts_at <= now:
        return rhythm.after(now)
    return rhythm.at_or_after(starts_at)
