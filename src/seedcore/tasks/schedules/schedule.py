"""A schedule: when it fires, and the task that each firing submits."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from seedcore.tasks.model import DEFAULT_TENANT, Limit, TaskSpec
from seedcore.tasks.schedules.next_fire_time import Rhythm
from seedcore.tasks.submission.tenancy import unscoped

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
        description="what each firing submits: type, params, queue, domain, priority, max_attempts, timeout_s, limit "
        "or limits"
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
        description="ticks missed while no process fired them: `skip` goes on with the next one (a tick that is at "
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
        id: with its tenant's name before it, unless that is `default`.
        next_at: the tick to be fired next; None while it is paused and when it has ended.
        fired: tasks that it submitted.
        skipped: ticks left out by its catch-up policy, counted up to `tick_times.COUNTED` for one gap.
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
    tenant: str = DEFAULT_TENANT

    @property
    def name(self) -> str:
        """Its id, as its tenant knows it."""
        return unscoped(self.id)

    @property
    def rhythm(self) -> Rhythm:
        """When it fires."""
        return Rhythm(self.cron, self.every_s, self.timezone, self.starts_at or self.created_at, self.ends_at)

    def task(self, moment: datetime, key: str | None = None) -> TaskSpec:
        """The task of a firing at that tick; its idempotency key names schedule and tick."""
        given = json.loads(self.task_limit or "[]")
        limits = tuple(Limit(**limit) for limit in (given if isinstance(given, list) else [given]))
        return TaskSpec(
            type=self.type,
            params=self.params,
            queue=self.queue,
            domain=self.domain,
            priority=self.priority,
            max_attempts=self.max_attempts,
            timeout_s=self.timeout_s,
            slow=self.slow,
            limit=limits[0] if limits else None,
            limits=limits if isinstance(given, list) else (),
            tenant=self.tenant,
            idempotency_key=key or f"schedule:{self.name}:{moment.astimezone(UTC).isoformat()}",
        )

    def upcoming(self, count: int) -> list[datetime]:
        """The next ticks; none while it is paused and when it has ended."""
        return [] if self.next_at is None else [self.next_at, *self.rhythm.upcoming(self.next_at, count - 1)]

    def json(self, payloads: bool = True) -> dict[str, object]:
        """As the API shows it; without `payloads` its task's params are null."""
        limit = None if self.task_limit is None else json.loads(self.task_limit)
        times = ("starts_at", "ends_at", "next_at", "last_at", "created_at", "updated_at")
        plain = (
            "cron",
            "every_s",
            "timezone",
            "catch_up",
            "max_catch_up",
            "paused",
            "fired",
            "skipped",
            "error",
            "tenant",
        )
        template = ("type", "queue", "domain", "priority", "max_attempts")
        return {
            "id": self.name,
            **{name: getattr(self, name) for name in plain},
            **{name: None if (at := getattr(self, name)) is None else at.isoformat() for name in times},
            "last_task_id": None if self.last_task_id is None else str(self.last_task_id),
            "task": {
                **{name: getattr(self, name) for name in template},
                "params": json.loads(self.params) if payloads else None,
                # PostgreSQL keeps a `real`: 0.1 would come back as 0.10000000149.
                "timeout_s": None if self.timeout_s is None else float(f"{self.timeout_s:.7g}"),
                **({"limit": None, "limits": limit} if isinstance(limit, list) else {"limit": limit}),
            },
            **({} if payloads else {"payloads_hidden": True}),
        }
