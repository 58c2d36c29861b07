"""What goes over the wire of a triage."""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from seedcore.schemas.ml.models import ModelName
from seedcore.tasks.submission.task_request import Key, TaskIn

MIN_POINTS, MAX_POINTS = 8, 20_000
"""What the detector accepts."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Numbers = Annotated[list[Number], Field(min_length=MIN_POINTS, max_length=MAX_POINTS)]
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class ModelAlarm(BaseModel):
    """A monitor of a model in use, as `GET /ml/xgboost/monitors` shows it."""

    model_config = ConfigDict(extra="forbid")

    name: ModelName
    monitor: Literal["inputs", "losses", "accuracy"]
    evidence: float = Field(ge=0, le=1, allow_inf_nan=False, description="of a change; an alarm is at 0.5")
    since: AwareDatetime | None = Field(None, description="the estimated moment of the change")
    rows: int = Field(0, ge=0, le=1_000_000_000_000, description="labelled rows since then")
    observed: int | None = Field(
        None, ge=0, le=1_000_000_000_000, description="what the monitor had seen at its alarm; else `rows`"
    )
    arl0: float = Field(10_000.0, gt=1, le=1e9, description="mean observations between its false alarms")


class TriageRequest(BaseModel):
    """A series (or several by name), a stream (`type` or `domain/type`), a model's monitor, or several of these.

    With only a stream, its record is examined: how long its last tasks took, and which failed.
    """

    model_config = ConfigDict(extra="forbid")

    stream: Annotated[str, Field(min_length=1, max_length=401, pattern=r"^[^\x00]*$")] | None = None
    data: Numbers | None = None
    series: dict[Label, Numbers] | None = Field(None, min_length=1, max_length=20)
    model: ModelAlarm | None = Field(None, description="a monitor of a model in use")
    context: dict[str, object] = Field(default_factory=dict, max_length=50, description="stored with the record")
    false_alarm: float = Field(0.05, gt=0, le=0.5)
    window_s: float = Field(3600.0, ge=1, le=604_800)
    task: TaskIn | None = Field(None, description="the task for the action `submit`, instead of the policy's")
    webhook: Label | None = Field(None, description="name of the webhook for `notify`, instead of the policy's")
    dry_run: bool = Field(False, description="decide without acting")
    idempotency_key: Key | None = Field(None, description="the same key again answers with the first record")

    @model_validator(mode="after")
    def _has_a_subject(self) -> Self:
        if self.stream is None and self.data is None and self.series is None and self.model is None:
            raise ValueError("give data, series, a stream or a model")
        if self.data is not None and self.series is not None:
            raise ValueError("give data or series, not both")
        if sum(map(len, (self.series or {}).values())) > MAX_POINTS:
            raise ValueError(f"at most {MAX_POINTS} values in all")
        return self

    def given(self) -> dict[str, list[float]]:
        """Series by name."""
        return {"data": self.data} if self.data is not None else dict(self.series or {})


class TriageQuery(BaseModel):
    """Filters of `GET /triage`."""

    model_config = ConfigDict(extra="forbid")

    stream: str | None = Field(None, max_length=401)
    cursor: str | None = Field(None, description="`next_cursor` of the previous page")
    limit: int = Field(50, ge=1, le=500)
