"""Drift detection: what `POST /ml/drift/score` takes and answers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_ROWS = 10_000


class _DriftInput(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DriftTask(_DriftInput):
    """A task whose features are compared."""

    type: str = Field("task", min_length=1, max_length=200)
    params: object = None
    gap_s: float | None = Field(None, ge=0, description="seconds since the previous task")


Row = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=256)]


class DriftRequest(_DriftInput):
    """A reference and observations: rows of numbers, or tasks, in the order of time.

    Give `reference` (or `reference_tasks`, or the `state` of an earlier answer) and `observations` (or `tasks`).
    """

    reference: list[Row] | None = Field(None, max_length=MAX_ROWS)
    reference_tasks: list[DriftTask] | None = Field(None, max_length=MAX_ROWS)
    state: str | None = Field(None, max_length=8_000_000, description="`state` of an earlier answer, to resume from")
    observations: list[Row] | None = Field(None, max_length=MAX_ROWS)
    tasks: list[DriftTask] | None = Field(None, max_length=MAX_ROWS)
    arl0: float = Field(10_000, ge=100, le=1_000_000, description="mean observations between false alarms")
    seed: int = Field(0, ge=0)
    keep: bool = Field(False, description="return the state, so that the next batch can resume from here")

    @model_validator(mode="after")
    def _one_of_each(self) -> "DriftRequest":
        for names in (("reference", "reference_tasks", "state"), ("observations", "tasks")):
            if sum(getattr(self, name) is not None for name in names) != 1:
                raise ValueError(f"give exactly one of {', '.join(names)}")
        return self


class DriftResponse(BaseModel):
    """The evidence for drift at each observation."""

    drift: bool = Field(description="whether there was an alarm")
    evidence: float = Field(description="at the last observation; an alarm from 0.5")
    evidences: list[float] = Field(description="at each observation")
    alarms: list[int] = Field(description="indices of the observations that alarmed")
    leading: str = Field(description="the strongest sign of a change at the last observation")
    reference: int
    arl0: float = Field(description="as requested")
    arl0_rehearsed: float | None = Field(description="seen on resampled references and streams")
    state: str | None = None
