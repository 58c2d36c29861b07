"""Models of `POST /cognitive/plan-task`."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, OnBehalf
from seedcore.schemas.cognitive.moves import EscalationMoveOut
from seedcore.tasks.model import TENANT_NAME
from seedcore.tasks.plans.plan_options import MAX_INPUTS, MAX_NAME, MAX_NAMES

GoalName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strip_whitespace=True)]
NO_NUL = r"^[^\x00]*$"
SkillName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class EscalationIn(BaseModel):
    """Why a task was escalated instead of run: its stream, the rule that said so, and the valve's evidence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    stream: str = Field(min_length=1, max_length=500, pattern=NO_NUL, description="`type` or `domain/type`")
    rule: str = Field("", max_length=200, pattern=NO_NUL, description="the policy's rule")
    why: str = Field("", max_length=2000)
    evidence: float | None = Field(None, ge=0, le=1)
    tenant: str | None = Field(None, pattern=TENANT_NAME)
    task_id: UUID | None = None


class PlanTaskRequest(EngineChoice, OnBehalf):
    """A goal, and the inputs to reach it from.

    The goal names output fields (`summary`), a skill's field (`text.keywords.keywords`) or a skill, one or several.
    One goal may also be free text, which a language model reads.
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
    escalation: EscalationIn | None = Field(
        None, description="the task that is planned looks unlike the past of its stream: a plan may do more than run it"
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


class PlanTaskResponse(EngineAnswer):
    """The cheapest plan: steps in an order that respects `needs`, and the source of each part of the goal."""

    steps: list[PlanStep]
    output: dict[str, dict[str, str]]
    cost: float
    explored: int
    method: Literal["search", "model", "past_plan", "move"] = "search"
    move: EscalationMoveOut | None = Field(None, description="of a task that was escalated")
