"""Models of the gate: outcomes of predictions, promotions and rollbacks."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from seedcore.schemas.ml.models import ModelName, Version

MAX_OUTCOMES = 10_000

Reason = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]
Truth = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str


class _GateRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OutcomeIn(_GateRequest):
    """What was true of the prediction of one `ml.predict` task: a label of the model's kind."""

    task_id: UUID
    label: Truth


class OutcomesRequest(_GateRequest):
    """What was true of earlier predictions."""

    outcomes: list[OutcomeIn] = Field(min_length=1, max_length=MAX_OUTCOMES)


class OutcomesResponse(BaseModel):
    """What was stored. The first label of a task stays: `repeated` counts those that had one."""

    accepted: int
    unknown: list[UUID] = Field(description="No `ml.predict` task of yours that runs or has ended, in order.")
    repeated: int


class PromoteRequest(_GateRequest):
    """Which version is to be champion. Figures are no part of it: the gate measures."""

    name: ModelName
    version: Version
    reason: Reason | None = None
    force: bool = Field(False, description="Promote at once, without the test; it is watched all the same.")


class PromoteResponse(BaseModel):
    """`promoted`: it answers now. `shadowing`: the gate decides. `refused`: it cannot replace the champion."""

    name: str
    version: int
    status: Literal["promoted", "shadowing", "refused"]
    evidence: dict[str, Any]
    id: UUID | None = Field(None, description="of the promotion; null: there was nothing to do")


class RollbackRequest(_GateRequest):
    """Go back to the champion before this one."""

    name: ModelName
    reason: Reason


class RollbackResponse(BaseModel):
    """The version that answers now."""

    name: str
    version: int


class PromotionsQuery(_GateRequest):
    """Promotions, the newest first."""

    name: ModelName | None = None
    cursor: UUID | None = None
    limit: int = Field(50, ge=1, le=500)


class PromotionOut(BaseModel):
    """One promotion, and what decided it."""

    id: UUID
    name: str
    champion: int | None = Field(description="The version that answered when it was opened; null: none did.")
    version: int
    status: Literal["shadowing", "promoted", "refused", "withdrawn", "rolled_back"]
    forced: bool
    opened_by: str | None
    reason: str | None
    opened_at: datetime
    decided_at: datetime | None
    watch_until: datetime | None = Field(description="Until when the gate may take it back by itself.")
    terms: dict[str, Any]
    evidence: dict[str, Any]


class PromotionsResponse(BaseModel):
    """A page of promotions; `next_cursor` is null on the last one."""

    items: list[PromotionOut]
    next_cursor: UUID | None


class PromotionView(_GateRequest):
    """How one promotion is shown."""

    format: Literal["json", "svg"] = "json"
