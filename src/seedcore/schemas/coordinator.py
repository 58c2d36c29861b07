"""What goes over the wire to and from the Coordinator.

A report is checked by pydantic at the Coordinator alone: the worker builds it from the TypedDicts here, which cost
nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, NotRequired, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from seedcore.decision.batch import BatchDecision, TaskBatch, Verdict
from seedcore.schemas.stream_rows import StreamRows
from seedcore.tasks.submission import task_options

MAX_TASKS = 10_000

Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
FinitePositive = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Data = tuple[Annotated[str, Field(max_length=200)], Annotated[float, Field(ge=0, le=2.0**60)]]
"""The agent, host or node where a task's data is, and how many bytes."""


class TaskFacts(BaseModel):
    """What a decision looks at: features, never payloads."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    type: Annotated[str, task_options.TYPE.stored]
    domain: Annotated[str, task_options.DOMAIN.stored] | None = None
    priority: Annotated[int, task_options.PRIORITY.field] = 0
    attempt: int = Field(1, ge=0)
    size: int = Field(0, ge=0, description="bytes of the params")
    approved: bool = False
    direct: bool = Field(False, description="it is never planned: a step of a plan, or no plan was found for it")
    data: Data | None = None


def task_batch(tasks: Sequence[TaskFacts]) -> TaskBatch:
    """Tasks by column."""
    return TaskBatch(
        type=[task.type for task in tasks],
        domain=[task.domain for task in tasks],
        priority=[task.priority for task in tasks],
        attempt=[task.attempt for task in tasks],
        size=[task.size for task in tasks],
        approved=[task.approved for task in tasks],
        direct=[task.direct for task in tasks],
        data=[task.data for task in tasks],
    )


class TaskColumns(BaseModel):
    """`TaskFacts` of many tasks by field, all of one length: validating a batch so costs a tenth."""

    model_config = ConfigDict(extra="forbid")

    type: list[Annotated[str, task_options.TYPE.stored]] = Field(max_length=MAX_TASKS)
    domain: list[Annotated[str, task_options.DOMAIN.stored] | None]
    priority: list[Annotated[int, task_options.PRIORITY.field]]
    attempt: list[Annotated[int, Field(ge=0)]]
    size: list[Annotated[int, Field(ge=0)]]
    approved: list[bool]
    direct: list[bool] = Field(default_factory=list, description="dispatchers of the previous release leave it out")
    data: list[Data | None] = Field(
        default_factory=list, description="where each task's data is, and its bytes; left out where none is known"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        self.direct = self.direct or [False] * len(self.type)
        self.data = self.data or [None] * len(self.type)
        lengths = {len(getattr(self, name)) for name in type(self).model_fields}
        if len(lengths) > 1:
            raise ValueError("the columns differ in length")
        return self

    def batch(self) -> TaskBatch:
        """The tasks as a decision takes them."""
        return TaskBatch(
            self.type, self.domain, self.priority, self.attempt, self.size, self.approved, self.direct, self.data
        )


class AgentCount(TypedDict):
    """Tasks of one type that a worker waits for at one agent."""

    agent: str
    type: str
    count: Count


class AgentOutcome(TypedDict):
    """Outcomes of one type at one agent since the last report: the count, total seconds, and successes."""

    agent: str
    type: str
    count: PositiveCount
    seconds: Annotated[float, Field(ge=0)]
    successes: Count


class AgentSpent(TypedDict):
    """Money that attempts of one type at one agent reported since the last report: how many attempts, and how much."""

    agent: str
    type: str
    count: PositiveCount
    money: FinitePositive


class EnergyReport(TypedDict):
    """Expected and realised changes of energy by decisions for one type, summed over `outcomes`.

    In seconds, seconds² (deltas) and seconds⁴ (squares).
    """

    type: Annotated[str, Field(min_length=1, max_length=200)]
    outcomes: PositiveCount
    expected_s: FinitePositive
    realised_s: FinitePositive
    expected_failures: FinitePositive
    failures: Count
    expected_delta: Annotated[float, Field(allow_inf_nan=False, description="seconds²")]
    realised_delta: Annotated[float, Field(allow_inf_nan=False, description="seconds²")]
    realised_squares: Annotated[FinitePositive, Field(description="of single outcomes, seconds⁴")]
    squared_error: Annotated[FinitePositive, Field(description="of single decisions, seconds⁴")]
    tokens: NotRequired[Annotated[FinitePositive, Field(description="that skills said they spent")]]
    money: NotRequired[FinitePositive]


class Report(BaseModel):
    """What a worker reports: `unplanned` counts tasks that run as they are because no plan was available; `dropped`
    counts items of reports that were refused here; `outstanding` is all that it waits for, the rest happened since its
    last report."""

    asker: str = Field(min_length=1, max_length=200)
    unplanned: int = Field(0, ge=0)
    dropped: int = Field(0, ge=0)
    outstanding: list[AgentCount] = Field(default_factory=list)
    outcomes: list[AgentOutcome] = Field(default_factory=list)
    spent: list[AgentSpent] = Field(default_factory=list)
    energy: list[EnergyReport] = Field(default_factory=list, max_length=10_000)
    streams: list[StreamRows] = Field(default_factory=list, max_length=1_000)


class Question(Report):
    """The report of a dispatcher of the previous release, which asks for each batch.

    `question` numbers them; `undecided` are the earlier ones whose answers had not arrived when `outstanding` was
    counted.
    """

    question: int = 0
    undecided: list[int] = Field(default_factory=list, max_length=10_000)


class DecideColumns(Question):
    """The question of a dispatcher of the previous release about a batch of leased tasks, with its report."""

    tasks: TaskColumns


class DecideRequest(BaseModel):
    """A dry run: what would be decided for these tasks now."""

    tasks: list[TaskFacts] = Field(min_length=1, max_length=MAX_TASKS)


class DecisionModel(BaseModel):
    """One decision; `route` is null when no agent can take the task at present."""

    route: str | None
    rule: str
    reason: str
    agent: str | None = None
    host: str | None = None
    delta_energy: float | None = Field(None, description="seconds²")
    evidence: float | None = Field(None, description="the valve's; null while the stream has no valve")
    expected_s: float = 0.0
    timeout_s: float | None = Field(None, description="the skill's own")
    hold_s: float | None = Field(None, description="how long the skill's tasks wait for a person")


class Decisions(BaseModel):
    """One decision for each task, in order."""

    decisions: list[DecisionModel]
    fleet_epoch: int

    @classmethod
    def of(cls, decided: BatchDecision) -> Self:
        """A record for each task."""
        shared = [asdict(verdict) for verdict in decided.verdicts]
        pairs = zip(decided.verdict, decided.delta_energy, strict=True)
        records = [DecisionModel(**shared[n], delta_energy=added) for n, added in pairs]
        return cls(decisions=records, fleet_epoch=decided.fleet_epoch)


class DecisionColumns(BaseModel):
    """Decisions by column, one entry for each task, in order."""

    verdicts: list[Verdict] = Field(description="every different verdict")
    verdict: list[int] = Field(description="for each task the index of its verdict in `verdicts`")
    delta_energy: list[float | None] = Field(description="seconds²")
    expected_failure: list[float | None] = Field(description="in [0, 1]; null where no agent is selected")
    v: float = Field(description="seconds² that one failure weighs in `delta_energy`")
    fleet_epoch: int

    @classmethod
    def of(cls, decided: BatchDecision) -> Self:
        """The decisions of a batch."""
        return cls(**{name: getattr(decided, name) for name in cls.model_fields})


class CalibrateRequest(BaseModel):
    """A request to calibrate a stream's valves."""

    model_config = ConfigDict(extra="forbid")

    arl0: float | None = Field(
        None, ge=100, le=500_000, description="tasks between false alarms; OCPS_ARL0 when not given"
    )
    seed: int = Field(0, ge=0)


class ExecuteRequest(BaseModel):
    """A task to submit and wait for: the fields of `POST /api/v1/tasks`, and how long to wait."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(min_length=1, max_length=200)
    params: dict[str, object] = Field(default_factory=dict)
    wait_s: float | None = Field(None, gt=0, le=3600, description="longest wait; SEEDCORE_ROUTE_WAIT_S when not given")
