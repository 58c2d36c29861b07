"""What goes over the wire to and from the Coordinator."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seedcore.tasks.submission import task_options

MAX_TASKS = 10_000

Row = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=256)]


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


class TaskColumns(BaseModel):
    """`TaskFacts` of many tasks by field, all of one length: reading a batch so costs a tenth."""

    model_config = ConfigDict(extra="forbid")

    type: list[Annotated[str, task_options.TYPE.stored]] = Field(max_length=MAX_TASKS)
    domain: list[Annotated[str, task_options.DOMAIN.stored] | None]
    priority: list[Annotated[int, task_options.PRIORITY.field]]
    attempt: list[Annotated[int, Field(ge=0)]]
    size: list[Annotated[int, Field(ge=0)]]
    approved: list[bool]
    direct: list[bool] = Field(default_factory=list, description="absent from a dispatcher of the release before")
    data: list[Data | None] = Field(
        default_factory=list, description="where each task's data is, and its bytes; absent where none says"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        self.direct = self.direct or [False] * len(self.type)
        self.data = self.data or [None] * len(self.type)
        lengths = {len(getattr(self, name)) for name in type(self).model_fields}
        if len(lengths) > 1:
            raise ValueError("the columns differ in length")
        return self


class AgentCount(BaseModel):
    """Tasks of one type that a dispatcher waits for at one agent."""

    agent: str
    type: str
    count: int = Field(ge=0)


class AgentOutcome(BaseModel):
    """Outcomes of one type at one agent since the last report: how many, seconds in all, good ones."""

    agent: str
    type: str
    count: int = Field(ge=1)
    seconds: float = Field(ge=0)
    successes: int = Field(ge=0)


class AgentSpent(BaseModel):
    """Money that attempts of one type at one agent reported since the last report: of how many, and how much."""

    agent: str
    type: str
    count: int = Field(ge=1)
    money: float = Field(ge=0, allow_inf_nan=False)


class EnergyTold(BaseModel):
    """What decisions for one type were expected to change, and what they did change, summed over `outcomes`."""

    type: str = Field(min_length=1, max_length=200)
    outcomes: int = Field(ge=1)
    expected_s: float = Field(ge=0, allow_inf_nan=False)
    realised_s: float = Field(ge=0, allow_inf_nan=False)
    expected_failures: float = Field(ge=0, allow_inf_nan=False)
    failures: int = Field(ge=0)
    expected_delta: float = Field(allow_inf_nan=False, description="seconds²")
    realised_delta: float = Field(allow_inf_nan=False, description="seconds²")
    realised_squares: float = Field(ge=0, allow_inf_nan=False, description="of single outcomes, seconds⁴")
    squared_error: float = Field(ge=0, allow_inf_nan=False, description="of single decisions, seconds⁴")


class StreamRows(BaseModel):
    """Features of a stream's tasks and outcomes, as `changepoint.features` makes them: of some of `seen` tasks."""

    domain: str | None = Field(None, max_length=200)
    type: str = Field(min_length=1, max_length=200)
    seen: int = Field(0, ge=0)
    tasks: list[Row] = Field(default_factory=list, max_length=1_000)
    outcomes: list[Row] = Field(default_factory=list, max_length=1_000)


class Question(BaseModel):
    """What a dispatcher tells with every question.

    `question` numbers them; `undecided` are those before whose answers had not come when `outstanding` was counted;
    `unplanned` counts tasks that run as they are because there was no plan, `dropped` items of reports that were
    refused here.
    """

    asker: str = Field(min_length=1, max_length=200)
    question: int = 0
    undecided: list[int] = Field(default_factory=list, max_length=10_000)
    unplanned: int = Field(0, ge=0)
    dropped: int = Field(0, ge=0)
    outstanding: list[AgentCount] = Field(default_factory=list)
    outcomes: list[AgentOutcome] = Field(default_factory=list)
    spent: list[AgentSpent] = Field(default_factory=list)
    energy: list[EnergyTold] = Field(default_factory=list, max_length=10_000)
    streams: list[StreamRows] = Field(default_factory=list, max_length=1_000)


class DecideBatch(Question):
    """A dispatcher's question for a batch of leased tasks, with what it knows about the fleet."""

    tasks: list[TaskFacts] = Field(max_length=MAX_TASKS)


class DecideColumns(Question):
    """`DecideBatch` with the tasks as columns."""

    tasks: TaskColumns


class DecideRequest(BaseModel):
    """A dry run: what would be decided for these tasks now."""

    tasks: list[TaskFacts] = Field(min_length=1, max_length=MAX_TASKS)


class DecisionModel(BaseModel):
    """One decision; `route` is null when no agent can take the task just now."""

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


class Verdict(BaseModel):
    """What many decisions of a batch share; the fields of `DecisionModel`."""

    model_config = ConfigDict(frozen=True)

    route: str | None
    rule: str
    reason: str
    agent: str | None = None
    host: str | None = None
    evidence: float | None = None
    expected_s: float = 0.0
    timeout_s: float | None = None
    hold_s: float | None = None


class DecisionColumns(BaseModel):
    """Decisions by column, one entry for each task, in order."""

    verdicts: list[Verdict] = Field(description="every different verdict")
    verdict: list[int] = Field(description="for each task the place of its verdict in `verdicts`")
    delta_energy: list[float | None] = Field(description="seconds²")
    expected_failure: list[float | None] = Field(description="in [0, 1]; null where no agent is chosen")
    v: float = Field(description="seconds² that one failure weighs in `delta_energy`")
    fleet_epoch: int


class CalibrateRequest(BaseModel):
    """A calibration that somebody asks for."""

    model_config = ConfigDict(extra="forbid")

    arl0: float | None = Field(
        None, ge=100, le=500_000, description="tasks between false alarms; OCPS_ARL0 unless given"
    )
    seed: int = Field(0, ge=0)


class ExecuteRequest(BaseModel):
    """A task to submit and wait for: the fields of `POST /api/v1/tasks`, and how long to wait."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(min_length=1, max_length=200)
    params: dict[str, Any] = Field(default_factory=dict)
    wait_s: float | None = Field(None, gt=0, le=3600, description="longest wait; SEEDCORE_ROUTE_WAIT_S when not given")
