"""Models of `POST /cognitive/solve-problem`."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, OnBehalf, StrictInput
from seedcore.schemas.cognitive.planning import PlanStep
from seedcore.tasks.plans.plan_options import MAX_INPUTS

ProblemText = Annotated[str, StringConstraints(min_length=1, max_length=4000, strip_whitespace=True)]


class SolveProblemRequest(StrictInput, EngineChoice, OnBehalf):
    """A problem in words, and what there is to solve it with."""

    problem: ProblemText
    inputs: dict[str, object] = Field(default_factory=dict, max_length=MAX_INPUTS)
    max_steps: int | None = Field(None, ge=1, description="At most MAX_PLAN_STEPS, which is also the default.")


class SolutionPlan(BaseModel):
    """A plan that may be submitted: its steps are checked against the skills."""

    steps: list[PlanStep]
    output: dict[str, dict[str, str]]
    cost: float


class SolveProblemResponse(EngineAnswer):
    """An answer in words, a plan, or both.

    `understood` are the goals that were read out of the problem; `missing` the inputs that a plan for them lacks.
    """

    answer: str
    understood: list[str]
    plan: SolutionPlan | None
    missing: dict[str, str]
