"""Models of requests to SeedCore and of its answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Required, TypedDict
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

from seedcore.errors import InvalidInputError, wrong_fields
from seedcore.tasks.model import DEFAULT_TENANT, TENANT_NAME, Status
from seedcore.tasks.submission.task_request import TaskIn
from seedcore.tasks.submission.tenancy import read_traceparent

__all__ = [
    "Decision",
    "Event",
    "LimitOption",
    "NewTask",
    "Options",
    "Params",
    "QueueDepth",
    "QueueState",
    "RunOptions",
    "Skill",
    "Status",
    "Task",
    "TaskError",
]

Params = Mapping[str, object] | BaseModel
"""Params of a skill: named JSON values, or a pydantic model."""


class LimitOption(TypedDict, total=False):
    """How many tasks of a key run at once, and how many start in a second; what is left out stays as it is."""

    key: Required[str]
    max_running: int
    rate_per_s: float
    burst: int
    cost: float


class RunOptions(TypedDict, total=False):
    """The options of `run`, by type. `NewTask`, like the API's own model, decides which values are allowed."""

    queue: str
    domain: str | None
    priority: int
    max_attempts: int | None
    run_after: datetime | None
    deadline: datetime | None
    idempotency_key: str | None
    idempotency_period_s: float | None
    limit: LimitOption | None
    limits: list[LimitOption] | None
    tenant: str | None
    traceparent: str | None


class Options(RunOptions, total=False):
    """The options of `submit`: those of `run`, and `timeout_s` as the time limit of an attempt."""

    timeout_s: float | None


def _as_object(value: object) -> dict[str, object]:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise ValueError("a mapping with text keys, or a pydantic model")


class NewTask(TaskIn):
    """A task to submit: `type`, `params` (a mapping or a pydantic model) and the options of `Options`.

    Raises:
        pydantic.ValidationError: a field is not allowed.
    """

    model_config = ConfigDict(frozen=True)

    params: Annotated[Any, BeforeValidator(_as_object)] = Field(default_factory=dict)
    tenant: Annotated[str, Field(pattern=TENANT_NAME)] | None = Field(
        None, description="whose, of a caller without a tenant; `default` when left out"
    )
    traceparent: Annotated[str, AfterValidator(read_traceparent)] | None = Field(
        None, description="the trace that the task belongs to (W3C); a malformed one is ignored"
    )

    @property
    def headers(self) -> dict[str, str]:
        """What says in HTTP where the task comes from."""
        given = {"X-SeedCore-Tenant": self.tenant, "traceparent": self.traceparent}
        return {name: value for name, value in given.items() if value is not None}

    @classmethod
    def of(cls, task_type: str, params: Params | None, options: Mapping[str, object]) -> "NewTask":
        """The task of a call of `submit`.

        Raises:
            InvalidInputError: names the field and what is allowed.
        """
        try:
            return cls.model_validate({"type": task_type, "params": {} if params is None else params, **options})
        except ValidationError as error:
            wrong = wrong_fields(error.errors(include_url=False, include_input=False))
            raise InvalidInputError.for_fields(wrong) from None

    def keyed(self, key: str) -> "NewTask":
        """The same task with this idempotency key, unless it has one."""
        return self if self.idempotency_key is not None else self.model_copy(update={"idempotency_key": key})

    def encode_params(self) -> str:
        """JSON of the params alone.

        Raises:
            InvalidInputError: they cannot be written as JSON.
        """
        return to_json(self.params, "params").decode()

    def encode(self, *, without: frozenset[str] = frozenset()) -> bytes:
        """JSON of the fields that were set, except those in `without`.

        Raises:
            InvalidInputError: the params cannot be written as JSON.
        """
        fields = {name: getattr(self, name) for name in sorted(self.model_fields_set - without)}
        if self.limit is not None:
            # What the caller left out stays out: an older SeedCore does not know `cost`.
            fields["limit"] = self.limit.model_dump(exclude_unset=True)
        return to_json(fields, "params")


def to_json(value: object, field: str) -> bytes:
    """`value` as JSON; models, dates, UUIDs and enumerations become plain JSON values.

    Raises:
        InvalidInputError: it cannot be written; names `field`.
    """
    try:
        plain = to_jsonable_python(value, by_alias=True, inf_nan_mode="constants")
        text = orjson.dumps(plain)
        if b"null" in text:
            # orjson writes NaN and infinities as null, which is not what the caller gave.
            _FINITE.encode(plain)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"cannot be written as JSON: {error}"
        raise InvalidInputError.for_field(field, message) from None
    return text


_FINITE = json.JSONEncoder(allow_nan=False, check_circular=False)


class _Response(BaseModel):
    # Fields of a newer SeedCore are kept in `model_extra`.
    model_config = ConfigDict(frozen=True, extra="allow")


class TaskError(_Response):
    """Why a task failed: a stable `code`, and a `message` for people."""

    code: str
    message: str | None = None


class Decision(_Response):
    """What was decided about a task and why; `delta_energy` in units of energy, `evidence` from 0 to 1."""

    route: str | None = None
    rule: str | None = None
    reason: str | None = None
    agent: str | None = None
    delta_energy: float | None = None
    evidence: float | None = None


class Task(_Response):
    """A task as SeedCore shows it; times have a time zone, `timeout_s` is in seconds.

    `usage` is what its attempts spent, `tokens` and `money`; None: no skill reported any. `unreadable` says why a value
    (`params`, `result`) that JSON readers could not read is None; `payloads_hidden`: the key may not see them.
    """

    id: UUID
    type: str
    params: Any
    status: Status
    domain: str | None
    priority: int
    queue: str
    idempotency_key: str | None
    attempts: int
    max_attempts: int
    run_after: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Any
    error: TaskError | None
    decision: Decision | None
    parent_id: UUID | None
    timeout_s: float | None = None
    step: str | None = None
    deadline: datetime | None = None
    limit_key: str | None = None
    limits: list[dict[str, Any]] | None = None
    tenant: str = DEFAULT_TENANT
    trace_id: str | None = None
    usage: dict[str, float] | None = None
    payloads_hidden: bool = False
    errors: list[dict[str, object]] = Field(default_factory=list, description="of a failed task's attempts")
    unreadable: dict[str, str] = Field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status.ended


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a task; ids ascend, and `data` holds `task_id`, `at` and the facts of the event."""

    id: int
    event: str
    data: dict[str, Any]


class QueueDepth(_Response):
    """How many tasks wait in one queue; `oldest_ready_s` in seconds."""

    ready: int
    deferred: int
    oldest_ready_s: float | None = None


class QueueState(_Response):
    """Depths by queue, and the living dispatchers with their progress; totals are in `model_extra`."""

    queues: dict[str, QueueDepth]
    dispatchers: list[dict[str, object]]


class Skill(_Response):
    """A skill, with the JSON schemas of its params and result; `timeout_s` in seconds."""

    name: str
    organ: str
    timeout_s: float
    description: str | None = None
    params_schema: dict[str, object]
    result_schema: dict[str, object]


class TaskPage(_Response):
    """One page of `GET /tasks`."""

    items: list[Task]
    next_cursor: str | None


class PlanSteps(_Response):
    """The answer of `GET /tasks/{id}/plan`."""

    steps: list[Task]


class TaskIds(_Response):
    """The answer of `POST /tasks/batch`."""

    ids: list[UUID]


class SkillList(_Response):
    """The answer of `GET /skills`."""

    items: list[Skill]
