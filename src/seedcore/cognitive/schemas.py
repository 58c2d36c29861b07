"""What goes over the wire to and from the Cognitive service."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

GoalName = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]


SkillName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class PlanTaskRequest(BaseModel):
    """A goal and what is there to begin with.

    The goal names output fields (`summary`), a skill's field (`text.keywords.keywords`) or a skill, one or several.
    """

    model_config = ConfigDict(extra="forbid")

    goal: GoalName | Annotated[list[GoalName], Field(min_length=1, max_length=32)]
    inputs: dict[str, Any] = Field(default_factory=dict, max_length=256)
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
    params: dict[str, Any]
    needs: list[str]


class PlanTaskResponse(BaseModel):
    """The cheapest plan: steps in an order that respects `needs`, and where each part of the goal comes from."""

    steps: list[PlanStep]
    output: dict[str, dict[str, str]]
    cost: float
    explored: int
    method: Literal["search"] = "search"
