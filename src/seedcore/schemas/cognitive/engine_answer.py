"""What every answer of the Cognitive service carries, and what every request may ask for."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from seedcore.llm.budget_scope import MAX_AMOUNT
from seedcore.tasks.model import TENANT_NAME

Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Chance = Annotated[float, Field(ge=0, le=1)]
EngineName = Literal["offline", "llm"]
Profile = Literal["fast", "deep"]


class StrictInput(BaseModel):
    """Input without unknown fields, NaN or infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class EngineChoice(BaseModel):
    """Which engine is to answer, and with which profile of the language model."""

    engine: EngineName | None = Field(
        None,
        description="None: the language model answers what is in free text, and the offline engine all the rest.",
    )
    profile: Profile = Field("fast", description="Of the language model: `fast` or `deep`.")


class OnBehalf(BaseModel):
    """For whom: whose memory is read, and whose budget pays for the language model."""

    tenant: str | None = Field(
        None, pattern=TENANT_NAME, description="None: the caller's, or `default` for a caller without one"
    )
    plan_id: UUID | None = Field(
        None, description="task of the plan whose budget pays; read of callers without a tenant alone"
    )
    plan_tokens: float | None = Field(
        None, ge=0, le=MAX_AMOUNT, description="what that plan may use in tokens, beside LLM_BUDGET_PLAN_TOKENS"
    )
    plan_money: float | None = Field(None, ge=0, le=MAX_AMOUNT, description="the same in money")


class UsageOut(BaseModel):
    """What the language model used for an answer. `money` is in the currency of the price table."""

    calls: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    money: float = Field(0.0, ge=0)


class EvidenceOut(BaseModel):
    """One thing that an answer rests on: an item of memory, a fact, an earlier plan, or a count."""

    kind: Literal["memory", "fact", "plan", "task", "move", "statistic"]
    id: str | None = Field(None, description="of the item; None for a count")
    text: str
    score: float | None = Field(None, description="similarity or weight, where there is one")
    numbers: dict[str, object] = Field(default_factory=dict)


class FallbackOut(BaseModel):
    """Why the language model did not give the answer. `code` is an error code, or `invalid_answer`."""

    code: str
    reason: str


class EngineAnswer(BaseModel):
    """Which engine answered, at what cost, and from what evidence."""

    engine: EngineName = "offline"
    model: str | None = Field(None, description="the language model that answered")
    usage: UsageOut | None = Field(None, description="of the language model, also when its answer was not used")
    evidence: list[EvidenceOut] = Field(default_factory=list)
    memory_fallback: str | None = Field(
        None, description="the fallback's name when memory was searched without vectors, or could not be read"
    )
    fallback: FallbackOut | None = Field(None, description="why the offline engine answered instead of the model")
