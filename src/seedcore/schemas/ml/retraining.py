"""What goes over the wire of a model's monitors, and of its retraining."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from seedcore.schemas.ml.models import ModelName


class MonitorsQuery(BaseModel):
    """Whose monitors to show; all models in use when no name is given."""

    model_config = ConfigDict(extra="forbid")

    name: ModelName | None = None


class MonitoredModel(BaseModel):
    """The monitors of a champion.

    `inputs` and `losses`: {state: learning | closed | open | unwatched, evidence, ...}, an alarm is at evidence 0.5;
    an open one has `opened_at` and `change_since`, the estimated beginning of the change.
    """

    name: ModelName
    version: int
    since: datetime = Field(description="when these monitors began, with the promotion of the version")
    inputs: dict[str, object]
    losses: dict[str, object]
    accuracy: dict[str, object] | None = Field(
        description="{value, low, high, rows, expected} of the newest outcomes; null: none is known"
    )
    caused: list[dict[str, object]] = Field(description="triages that were asked for, and what they did, newest last")
    updated_at: datetime


class MonitorsResponse(BaseModel):
    """All models in use; `failing`: those that this replica, when it leads, cannot watch, and why."""

    models: list[MonitoredModel]
    failing: dict[str, str]


class RetrainRequest(BaseModel):
    """Train a candidate on the newest labelled rows of a model's recorded predictions."""

    model_config = ConfigDict(extra="forbid")

    name: ModelName
    cause: Literal["inputs", "losses", "accuracy", "request"] = "request"
    since: AwareDatetime | None = Field(None, description="rows from then on count for more")
    rows: int = Field(20_000, ge=20, le=1_000_000, description="the newest labelled rows, at most")
    triage_id: UUID | None = None
    params: dict[str, object] = Field(
        default_factory=dict, max_length=50, description="training parameters that differ from the champion's"
    )


class RetrainResult(BaseModel):
    """The candidate, and what became of it at the gate.

    Attributes:
        status: of `POST /ml/xgboost/promote`: shadowing, promoted or refused.
        rows, fresh_rows: that it was trained on, and those of them from `since` on.
        old_weight: how much a row before `since` counted; one from then on counts 1. `fresh_rows` and it are null when
            an earlier attempt of this task had stored the version.
    """

    name: str
    version: int
    parent: int
    status: str
    evidence: dict[str, object]
    metrics: dict[str, float]
    rows: int
    fresh_rows: int | None
    old_weight: float | None
