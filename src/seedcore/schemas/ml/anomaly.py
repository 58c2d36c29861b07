"""Anomaly detection: what `POST /ml/detect/anomaly` and its batch take and answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

MIN_LENGTH, MAX_LENGTH = 8, 20_000
"""Values that a series may have."""

MAX_BATCH_POINTS = 200_000
MAX_COLUMNS = 50


class _DetectInput(BaseModel):
    model_config = ConfigDict(extra="forbid")


ColumnName = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
FalseAlarm = Annotated[
    float, Field(gt=0, le=0.5, description="probability that a clean series gets any anomaly; see docs/triage.md")
]


class DetectRequest(_DetectInput):
    """A series, or several that are judged together; evenly spaced in time, the oldest value first."""

    data: list[Number] | None = Field(None, min_length=MIN_LENGTH, max_length=MAX_LENGTH)
    columns: dict[ColumnName, Annotated[list[Number], Field(max_length=MAX_LENGTH)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_COLUMNS,
        description=f"instead of `data`: series of one length by name, {MAX_BATCH_POINTS:,} values in all at most",
    )
    false_alarm: FalseAlarm = 0.05


class DetectBatchRequest(_DetectInput):
    """Several series, each judged on its own."""

    series: list[Annotated[list[Number], Field(max_length=MAX_LENGTH)]] = Field(min_length=1, max_length=100)
    false_alarm: FalseAlarm = 0.05

    @model_validator(mode="after")
    def _bounded(self) -> "DetectBatchRequest":
        if (total := sum(map(len, self.series))) > MAX_BATCH_POINTS:
            raise ValueError(f"{total} values in all; at most {MAX_BATCH_POINTS} are allowed in one batch")
        return self


class AnomalyPoint(BaseModel):
    """A point that the rest of the series does not explain."""

    index: int
    value: float
    score: float = Field(description="distance from what was expected, in `unit`s")
    expected: float = Field(description="by its season and the points around it")
    direction: Literal["above", "below"]
    chance: float | None = Field(
        description="probability that a clean series has a point as far out on this side; null: the method knows none"
    )


class Thresholds(BaseModel):
    """Scores above which a point is an anomaly; null when the method has no limit."""

    above: float | None
    below: float | None


class DetectResponse(BaseModel):
    """The anomalies of a series, and the method that found them."""

    anomalies: list[AnomalyPoint]
    method: Literal["tail", "few", "departures", "constant"] = Field(
        description="tail: beyond what a tail fitted to the rest passes; few: beyond what normal noise of so few "
        "points passes; departures: most points are exactly as expected, and few depart; constant: all are"
    )
    threshold: Thresholds
    false_alarm: float
    unit: Literal["robust standard deviations", "median departures"] = Field(description="of `score` and `threshold`")
    scale: float = Field(description="one unit, in the series' own")
    season: int | None = Field(description="points in a cycle; null: none was found")
    window: int = Field(description="points on each side that a point is compared with")
    points: int
    notes: list[str] = Field(description="what could not be judged")


class JointAnomalyPoint(BaseModel):
    """A point of time at which the columns together depart from what is expected."""

    index: int
    score: float = Field(description="robust Mahalanobis distance of what the columns' seasons and levels leave")
    chance: float = Field(description="probability that clean columns have a point as far out")
    columns: dict[str, float] = Field(description="each column's share of the squared distance; they sum to 1")


class JointDetectResponse(BaseModel):
    """The anomalies of several columns."""

    anomalies: list[JointAnomalyPoint]
    method: Literal["tail", "few", "constant"]
    threshold: Thresholds
    false_alarm: float
    unit: Literal["robust standard deviations"] = "robust standard deviations"
    seasons: dict[str, int] = Field(description="points in a cycle, of columns that have a season")
    points: int
    columns: list[str]
    notes: list[str] = Field(description="what could not be judged")


class DetectAnswer(RootModel[DetectResponse | JointDetectResponse]):
    """The anomalies of `data` or of one column, or those of several columns."""


class DetectItem(BaseModel):
    """The answer for one series, or a problem document if it cannot be judged."""

    found: DetectResponse | None = None
    error: dict[str, object] | None = None


class DetectBatchResponse(BaseModel):
    """One answer a series, in order."""

    items: list[DetectItem]
