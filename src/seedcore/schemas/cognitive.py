"""Models of the Cognitive service: planning, reasoning about failures and deciding."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from seedcore.tasks.plans.plan_options import MAX_INPUTS, MAX_NAME, MAX_NAMES

GoalName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strip_whitespace=True)]
SkillName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class PlanTaskRequest(BaseModel):
    """A goal, and the inputs to reach it from.

    The goal names output fields (`summary`), a skill's field (`text.keywords.keywords`) or a skill, one or several.
    """

    model_config = ConfigDict(extra="forbid")

    goal: GoalName | Annotated[list[GoalName], Field(min_length=1, max_length=MAX_NAMES)]
    inputs: dict[str, object] = Field(default_factory=dict, max_length=MAX_INPUTS)
    max_steps: int | None = Field(None, ge=1, description="At most MAX_PLAN_STEPS, which is also the default.")
    without: list[SkillName] = Field(default_factory=list, max_length=1000, description="skills not to run")
    done: dict[SkillName, SkillName] = Field(
        default_factory=dict,
        max_length=1000,
        description="the skill of each earlier step that completed, by the step's id: the plan takes from it as "
        "`{$from: id, field}`, and does not repeat it. When these give all of the goal, the plan has no steps.",
    )


class PlanStep(BaseModel):
    """One skill to run.

    A param is a literal, or `{"$from": "inputs" or a step's id, "field": name}`. `needs` are the steps that must be
    complete before this one.
    """

    id: str
    skill: str
    params: dict[str, object]
    needs: list[str]


class PlanTaskResponse(BaseModel):
    """The cheapest plan: steps in an order that respects `needs`, and the source of each part of the goal."""

    steps: list[PlanStep]
    output: dict[str, dict[str, str]]
    cost: float
    explored: int
    method: Literal["search"] = "search"


class _ReasoningInput(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Chance = Annotated[float, Field(ge=0, le=1)]


class ValveFacts(_ReasoningInput):
    """The state of a stream's valve; see `GET /pipeline/valve`."""

    state: Literal["learning", "closed", "open", "unwatched"]
    evidence: float | None = Field(None, ge=0, le=1)
    arl0: float | None = Field(None, gt=0)
    since_alarm: int | None = Field(None, ge=0, description="observations since its last alarm")


class ModelFacts(_ReasoningInput):
    """A monitor of a model in use: what it had seen when it said that the model's world changed."""

    name: Name
    monitor: Literal["inputs", "losses", "accuracy"]
    evidence: float = Field(ge=0, le=1)
    observed: int = Field(ge=0)
    arl0: float = Field(gt=1)


class SeriesPoint(BaseModel):
    """A point that stands out; other fields of `/ml/detect/anomaly` are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    index: int = Field(ge=0)
    score: float = Field(ge=0)
    chance: Chance | None = None


class SeriesFinding(BaseModel):
    """The answer of `/ml/detect/anomaly`, with a name."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    name: Name
    points: int = Field(ge=1)
    anomalies: list[SeriesPoint] = Field(max_length=20_000)


class ReasonRequest(_ReasoningInput):
    """What failed: a task or a stream (`type` or `domain/type`), findings in series, or both."""

    task_id: UUID | None = None
    stream: Name | None = None
    findings: list[SeriesFinding] = Field(default_factory=list, max_length=100)
    valve: ValveFacts | None = Field(None, description="of the stream; requested from the Coordinator when absent")
    model: ModelFacts | None = Field(None, description="a monitor of a model in use")
    window_s: float = Field(3600.0, ge=1, le=604_800, description="what is `now`; four times as much is `before`")

    @model_validator(mode="after")
    def _about_something(self) -> Self:
        if self.task_id is None and self.stream is None and not self.findings and self.model is None:
            raise ValueError("give a task_id, a stream, findings or a model")
        if self.task_id is not None and self.stream is not None:
            raise ValueError("a task has its own stream: give task_id or stream, not both")
        return self


class HypothesisOut(BaseModel):
    """A possible cause and its evidence.

    `belief` is its posterior share among the listed causes, which are equally likely a priori; `log10_bayes` is the
    Bayes factor against chance, in powers of ten; `numbers` are the counts and chances behind both.
    """

    name: str
    kind: str
    about: str | None
    belief: float
    log10_bayes: float
    numbers: dict[str, object]


class SubjectOut(BaseModel):
    """What failed."""

    task_id: str | None
    stream: str | None
    codes: list[str] = Field(description="of its failed attempts, in order")
    agent: str | None
    host: str | None


class ReasonResponse(BaseModel):
    """Hypotheses, the likeliest first; `absent` lists those that could not be judged, and why."""

    method: Literal["evidence"] = "evidence"
    subject: SubjectOut
    hypotheses: list[HypothesisOut]
    absent: dict[str, str]
    tasks: int = Field(description="ended tasks that were examined")
    window_s: float
    covered_s: float | None = Field(description="how far back they go, when there were more than are examined")


class RequirementIn(_ReasoningInput):
    """A comparison that a fact must satisfy; an unknown fact satisfies none."""

    fact: Name
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    value: bool | int | float | str


class OptionIn(_ReasoningInput):
    """An option: its cost in any case, and the additional loss under each hypothesis.

    `losses` are by a hypothesis' name (`agent:a-1`) or kind (`agent`); `otherwise` applies to all others.
    """

    name: Name
    cost: float = Field(0.0, ge=-1e12, le=1e12)
    losses: dict[Name, Annotated[float, Field(ge=-1e12, le=1e12)]] = Field(default_factory=dict, max_length=100)
    otherwise: float = Field(0.0, ge=-1e12, le=1e12)
    requires: list[RequirementIn] = Field(default_factory=list, max_length=20)


class MakeDecisionRequest(_ReasoningInput):
    """Options, beliefs (weights of hypotheses; only proportions count), and the facts that requirements compare."""

    options: list[OptionIn] = Field(min_length=1, max_length=50)
    beliefs: dict[Name, Annotated[float, Field(ge=0, le=1e12)]] = Field(min_length=1, max_length=200)
    facts: dict[Name, bool | int | float | str] = Field(default_factory=dict, max_length=200)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [option.name for option in self.options]
        if len(set(names)) < len(names):
            raise ValueError("two options have the same name")
        return self


class OptionOut(BaseModel):
    """An evaluated option: `losses` by hypothesis include its cost; `unmet` says why it may not be chosen."""

    name: str
    expected_loss: float
    cost: float
    losses: dict[str, float]
    unmet: list[str]


class DecisionChangeOut(BaseModel):
    """What would make `option` the decision: a belief in `hypothesis` of `needed`, or meeting what is `unmet`."""

    option: str
    hypothesis: str | None
    belief: float | None
    needed: float | None
    unmet: list[str]


class MakeDecisionResponse(BaseModel):
    """The allowed option with the least expected loss, and the others in order; the next one loses `margin` more."""

    method: Literal["expected_loss"] = "expected_loss"
    decision: str
    expected_loss: float
    margin: float | None
    beliefs: dict[str, float]
    options: list[OptionOut]
    would_change: list[DecisionChangeOut]
