"""Models of `POST /cognitive/make-decision`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, Name, OnBehalf, StrictInput


class RequirementIn(StrictInput):
    """A comparison that a fact must satisfy; an unknown fact satisfies none."""

    fact: Name
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    value: bool | int | float | str


class OptionIn(StrictInput):
    """An option: its cost in any case, and the additional loss under each hypothesis.

    `losses` are by a hypothesis' name (`agent:a-1`) or kind (`agent`); `otherwise` applies to all others.
    """

    name: Name
    cost: float = Field(0.0, ge=-1e12, le=1e12)
    losses: dict[Name, Annotated[float, Field(ge=-1e12, le=1e12)]] = Field(default_factory=dict, max_length=100)
    otherwise: float = Field(0.0, ge=-1e12, le=1e12)
    requires: list[RequirementIn] = Field(default_factory=list, max_length=20)


class MakeDecisionRequest(StrictInput, EngineChoice, OnBehalf):
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


class MakeDecisionResponse(EngineAnswer):
    """The allowed option with the least expected loss, and the others in order; the next one loses `margin` more."""

    method: Literal["expected_loss"] = "expected_loss"
    decision: str
    expected_loss: float
    margin: float | None
    beliefs: dict[str, float]
    options: list[OptionOut]
    would_change: list[DecisionChangeOut]
    advice: str | None = Field(None, description="by the language model: what it would choose, and why")
    advised: str | None = Field(None, description="the allowed option that the advice names; it changes no decision")
