"""What a language model is asked to answer with: schemas that leave no room for anything but data."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Cites = Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=50)]


class Draft(BaseModel):
    """Base: unknown fields make an answer invalid."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StepDraft(Draft):
    """A step that a model wants; what it needs follows from its references."""

    id: Id
    skill: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    params: dict[str, JsonValue] = Field(default_factory=dict, max_length=100)


class PlanDraft(Draft):
    """A plan that a model wants, and what of memory it rests on."""

    steps: list[StepDraft] = Field(min_length=1, max_length=200)
    output: dict[str, dict[str, Any]] = Field(max_length=100)
    cites: Cites = Field(default_factory=list)


class CauseDraft(Draft):
    """Which of the given hypotheses a model holds true, and why."""

    likely: Annotated[str, StringConstraints(min_length=1, max_length=700)]
    explanation: Text
    cites: Cites = Field(default_factory=list)


class AdviceDraft(Draft):
    """Which of the allowed options a model would choose, and why."""

    option: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    advice: Text
    cites: Cites = Field(default_factory=list)


class SolutionDraft(Draft):
    """An answer to a problem; with steps, a plan for it."""

    answer: Text
    steps: list[StepDraft] = Field(default_factory=list, max_length=200)
    output: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=100)
    cites: Cites = Field(default_factory=list)


class StatementDraft(Draft):
    """A statement, and the ids of the memories that say so."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    cites: Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(min_length=1, max_length=50)]


class SynthesisDraft(Draft):
    """What memories say about a query."""

    statements: list[StatementDraft] = Field(max_length=20)


class SummaryDraft(Draft):
    """What gaps there are, in a few sentences."""

    summary: Text
