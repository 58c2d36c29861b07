"""Records of the task engine: tasks to store, leases, and how an attempt ended."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

GOAL = "goal"
"""The task type of goals: it names no skill, its params hold a goal, and a plan reaches it."""

DEFAULT_QUEUE = "default"
GRAPH_QUEUE = "graph"
DEFAULT_TENANT = "default"
"""Whose tasks are that are submitted without a key, or with one that belongs to no tenant."""

TENANT_NAME = r"^[a-z][a-z0-9-]{0,39}$"


def lane_name(queue: str, slow: bool) -> str:
    """The name by which dispatchers wait for a lane: `default`, `default~slow` (as `seedcore.lane` in the database)."""
    return f"{queue}~slow" if slow else queue


class Status(StrEnum):
    """What state a task is in."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    APPROVAL = "approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True for the three states that a task does not leave by itself."""
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562 §5.7 and §6.2 method 3): sorts by creation time, to a quarter of a microsecond."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    value = milliseconds << 80 | 0x7 << 76 | (rest * 4096 // 1_000_000) << 64
    return UUID(int=value | 0x2 << 62 | int.from_bytes(os.urandom(8), "big") >> 2)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many tasks of a key run at once, and how many start in a second; None keeps the key's value.

    An undefined key lets one task run at a time. A task takes `cost` of the key's rate (tokens of a model, say).
    """

    key: str
    max_running: int | None = None
    rate_per_s: float | None = None
    burst: int | None = None
    cost: float = 1.0


@dataclass(slots=True)
class TaskSpec:
    """A task to store. `params` is JSON text of an object; times are aware.

    Attributes:
        idempotency_period_s: the key is free again after that many seconds (None: as long as the task is kept).
        limit: the first of `limits`, or the only one.
        limits: all, by key, when there are several or one has a cost other than 1; else empty.
        traceparent: the W3C trace context of who submits it.
        by: the name of the key that submits it; None: no key was presented.
    """

    type: str
    params: str
    queue: str = DEFAULT_QUEUE
    domain: str | None = None
    priority: int = 0
    max_attempts: int = 5
    timeout_s: float | None = None
    run_after: datetime | None = None
    idempotency_key: str | None = None
    idempotency_period_s: float | None = None
    slow: bool = False
    deadline: datetime | None = None
    limit: Limit | None = None
    limits: tuple[Limit, ...] = ()
    tenant: str = DEFAULT_TENANT
    traceparent: str | None = None
    by: str | None = None
    id: UUID = field(default_factory=new_id)


@dataclass(slots=True)
class Submitted:
    """The answer to a submission: `created_at` is None when the idempotency key gave an earlier task."""

    id: UUID
    created_at: datetime | None

    @property
    def created(self) -> bool:
        """Whether this submission created the task."""
        return self.created_at is not None


# Not frozen: making a frozen one takes five times as long, and one is made for every task.
@dataclass(slots=True)
class Lease:
    """A claimed task.

    Attributes:
        token: fences every later write.
        params: JSON text, not decoded yet.
        bindings: which params come from which earlier step, as JSON text; None: the task is no step that needs one.
        seq: its place in the order of submission within a priority.
        run_after: when it was due; None: at once.
        left_s: seconds from the claim to its deadline; None: it has none.

    The last three are the dispatcher's own: whether it was reported to the valves, rule and reason of running without
    a plan when one was wanted, and whether its trace is recorded (None: not asked yet).
    """

    id: UUID
    token: int
    attempt: int
    type: str
    params: str
    bindings: str | None
    queue: str
    slow: bool
    domain: str | None
    priority: int
    max_attempts: int
    timeout_s: float | None
    limit_key: str | None
    idempotency_key: str | None
    parent_id: UUID | None
    approved: bool
    created_at: datetime
    seq: int
    tenant: str = DEFAULT_TENANT
    traceparent: str | None = None
    run_after: datetime | None = None
    left_s: float | None = None
    reported_to_valves: bool = False
    unplanned: tuple[str, str] | None = None
    recorded: bool | None = None

    @property
    def direct(self) -> bool:
        """Whether it must run without a plan of its own: a step of a plan, or a task that no plan was made for."""
        return self.parent_id is not None or self.unplanned is not None

    @property
    def follow_up(self) -> bool:
        """Whether its end has consequences to compute: a plan goes on, a key admits another task, or it may be late."""
        return self.parent_id is not None or self.limit_key is not None or self.left_s is not None


class Usage(NamedTuple):
    """What an attempt reports to have spent; `money` in the currency of the budgets."""

    tokens: float = 0.0
    money: float = 0.0


@dataclass(slots=True)
class Outcome:
    """How an attempt ended; JSON fields are text.

    `began`: the `started` event is not written yet and belongs before the last one. An outcome with `usage` has
    `follow_up` set: its plan may be over its budget. `counts_for`: tenant, type and agent ("" where none is known),
    whose sums it counts in; None: it counts in none.
    """

    id: UUID
    token: int
    status: Status
    result: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    decision: str | None = None
    began: bool = True
    follow_up: bool = False
    usage: Usage | None = None
    counts_for: tuple[str, str, str] | None = None


@dataclass(slots=True)
class Retry:
    """An attempt that failed and may be tried again after `delay_s`."""

    id: UUID
    token: int
    delay_s: float
    error_code: str
    error_message: str
    limit_key: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step of a plan, ready to store: `needs` are ids of other steps; `bindings` is JSON text or None."""

    id: UUID
    name: str
    type: str
    params: str
    bindings: str | None
    needs: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """The terms of a plan.

    Attributes:
        policy: what to do when a step fails, by its skill, `*` for the others: `fail`, `skip` or `replan`.
        budget: upper bounds `steps`, `time_s`, `tokens` and `money`; a missing one is unbounded.
        signature: of goal, inputs' types and skills, for recipes; None: this plan counts for no recipe.
        recipe: whether the plan is a recipe.
        learning: `{goal, inputs, after, least}` of a recipe that may come of it.
    """

    policy: Mapping[str, str] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    signature: str | None = None
    recipe: bool = False
    learning: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompletedStep:
    """A completed step of an earlier plan; a new plan of the same task can use its result."""

    name: str
    skill: str
    task: UUID


@dataclass(frozen=True, slots=True)
class EarlierPlan:
    """The earlier plan of a task that is planned again; `steps` counts all steps so far."""

    replans: int = 0
    without: tuple[str, ...] = ()
    steps: int = 0
    done: tuple[CompletedStep, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One entry of a task's history; `id` grows along it."""

    id: int
    task_id: UUID
    event: str
    at: datetime
    data: Mapping[str, object]


LAST_EVENTS = frozenset({"completed", "failed", "cancelled"})
