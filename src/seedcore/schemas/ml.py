"""What goes over the wire to and from the ML service."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from seedcore.ml.anomaly import MAX_LENGTH, MIN_LENGTH

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_BATCH_ROWS = 10_000
MAX_BATCH_POINTS = 200_000

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Version = Annotated[int, Field(ge=1)]
Label = bool | int | float | str
LabelKind = Literal["integer", "string", "boolean", "number"]
Features = dict[str, Any] | list[Any]
Task = Literal["binary", "multiclass", "regression"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TrainRequest(_Strict):
    """A training set and how to learn from it. Exactly one of `dataset`, `rows` with `columns`, and `data_source`.

    Numbers, booleans and null (missing) are features. Integer, text or boolean labels mean classification,
    float labels mean regression.
    """

    name: ModelName
    dataset: list[dict[str, Any]] | None = Field(None, description="One object a row, each with the same columns.")
    rows: list[list[Any]] | None = Field(None, description="One list a row, in the order of `columns`.")
    columns: list[str] | None = Field(None, description="Names of the columns of `rows`, the label's among them.")
    data_source: str | None = Field(
        None,
        description="A CSV or Parquet file, relative to `datasets` in the data directory. Labels in a CSV are numbers "
        "when every one is a plain number, else text: `007` is text.",
    )
    label_column: str
    params: dict[str, Any] = Field(default_factory=dict, description="XGBoost parameters; only known ones are allowed.")

    @model_validator(mode="after")
    def _one_source(self) -> "TrainRequest":
        given = [n for n in ("dataset", "rows", "data_source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of dataset, rows with columns, data_source; given: {given or 'none'}")
        if (self.rows is None) != (self.columns is None):
            raise ValueError("rows and columns go together")
        return self


class Column(BaseModel):
    """One feature column."""

    name: str
    type: Literal["number"] = "number"


class ModelSchema(BaseModel):
    """What a model takes and what it answers."""

    features: list[Column]
    label_column: str
    label_type: LabelKind
    labels: list[Label] | None = Field(None, description="The classes; null for regression.")
    task: Task


class TrainResponse(BaseModel):
    """A trained model. The metrics are of the held-out rows; the stored model has learnt from all of them."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    name: str
    version: int
    metrics: dict[str, float]
    training_time_s: float
    model_schema: ModelSchema = Field(alias="schema")


class ModelRef(BaseModel):
    """The version that answered."""

    name: str
    version: int


class _Choice(_Strict):
    name: ModelName
    version: Version | None = None
    alias: Literal["latest"] | None = None

    @model_validator(mode="after")
    def _version_or_alias(self) -> "_Choice":
        if self.version is not None and self.alias is not None:
            raise ValueError("give version or alias, not both")
        return self


class PredictRequest(_Choice):
    """One row for one model; the newest version answers unless one is named."""

    features: Features = Field(description="{column: value}, or the values in the order of the model's schema.")


class PredictResponse(BaseModel):
    """The label (classification) or the value (regression); `probabilities` are by label, null for regression."""

    prediction: Label
    probabilities: dict[str, float] | None = None
    model: ModelRef


class BatchPredictRequest(_Choice):
    """Many rows for one model."""

    rows: list[Features] = Field(min_length=1, max_length=MAX_BATCH_ROWS)


class RowPrediction(BaseModel):
    """The answer for one row: a prediction, or the problem document of a row that does not fit the model."""

    prediction: Label | None = None
    probabilities: dict[str, float] | None = None
    error: dict[str, Any] | None = None


class BatchPredictResponse(BaseModel):
    """One answer a row, in order."""

    predictions: list[RowPrediction]
    model: ModelRef


class ModelQuery(_Choice):
    """Which model to describe."""


class DeleteRequest(_Strict):
    """Which versions to delete: one, or all of the name."""

    name: ModelName
    version: Version | None = None


class DeleteResponse(BaseModel):
    """What was deleted. The numbers are never given out again."""

    name: str
    deleted: list[int]


class ModelSummary(BaseModel):
    """One name in the registry; task, label and metrics are those of the newest version."""

    name: str
    latest: int
    versions: list[int]
    task: Task
    label_column: str
    metrics: dict[str, float]
    created_at: datetime


class BrokenModel(BaseModel):
    """A version whose manifest cannot be read."""

    name: str
    version: int
    reason: str


class ListModelsResponse(BaseModel):
    """All names."""

    models: list[ModelSummary]
    total_count: int
    broken: list[BrokenModel]


class ModelInfo(BaseModel):
    """All that the registry knows about one version."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    name: str
    version: int
    versions: list[int]
    created_at: datetime
    n_rows: int
    model_schema: ModelSchema = Field(alias="schema")
    metrics: dict[str, float]
    params: dict[str, float | int]
    sha256: str
    size_bytes: int
    xgboost_version: str


class DriftTask(_Strict):
    """A task to take the features of."""

    type: str = Field("task", min_length=1, max_length=200)
    params: Any = None
    gap_s: float | None = Field(None, ge=0, description="seconds since the task before")


Row = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=256)]


class DriftRequest(_Strict):
    """What is normal, and what to look at: rows of numbers or tasks, in the order of time.

    Give `reference` (or `reference_tasks`, or the `state` of an earlier answer) and `observations` (or `tasks`).
    """

    reference: list[Row] | None = Field(None, max_length=MAX_BATCH_ROWS)
    reference_tasks: list[DriftTask] | None = Field(None, max_length=MAX_BATCH_ROWS)
    state: str | None = Field(None, max_length=8_000_000, description="`state` of an earlier answer, to go on from")
    observations: list[Row] | None = Field(None, max_length=MAX_BATCH_ROWS)
    tasks: list[DriftTask] | None = Field(None, max_length=MAX_BATCH_ROWS)
    arl0: float = Field(10_000, ge=100, le=1_000_000, description="mean observations between false alarms")
    seed: int = Field(0, ge=0)
    keep: bool = Field(False, description="answer with the state, so that the next batch goes on from here")

    @model_validator(mode="after")
    def _one_of_each(self) -> "DriftRequest":
        for names in (("reference", "reference_tasks", "state"), ("observations", "tasks")):
            if sum(getattr(self, name) is not None for name in names) != 1:
                raise ValueError(f"give exactly one of {', '.join(names)}")
        return self


class DriftResponse(BaseModel):
    """What the valve saw."""

    drift: bool = Field(description="whether there was an alarm")
    evidence: float = Field(description="at the last observation; from 0.5 on it is an alarm")
    evidences: list[float] = Field(description="at each observation")
    alarms: list[int] = Field(description="indices of the observations that alarmed")
    leading: str = Field(description="what spoke for a change most at the last observation")
    reference: int
    arl0: float = Field(description="as asked for")
    arl0_rehearsed: float | None = Field(description="seen on resampled references and streams")
    state: str | None = None


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
FalseAlarm = Annotated[
    float, Field(gt=0, le=0.5, description="probability that a clean series gets any anomaly; see docs/triage.md")
]


class DetectRequest(_Strict):
    """A series, evenly spaced in time, the oldest value first."""

    data: list[Number] = Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH)
    false_alarm: FalseAlarm = 0.05


class DetectBatchRequest(_Strict):
    """Several series, each judged by itself."""

    series: list[Annotated[list[Number], Field(max_length=MAX_LENGTH)]] = Field(min_length=1, max_length=100)
    false_alarm: FalseAlarm = 0.05

    @model_validator(mode="after")
    def _bounded(self) -> "DetectBatchRequest":
        if (total := sum(map(len, self.series))) > MAX_BATCH_POINTS:
            raise ValueError(f"{total} values in all; at most {MAX_BATCH_POINTS} are judged at once")
        return self


class AnomalyPoint(BaseModel):
    """A point that the rest of its series does not explain."""

    index: int
    value: float
    score: float = Field(description="distance from what was expected, in `unit`s")
    expected: float = Field(description="by its season and the points around it")
    direction: Literal["above", "below"]
    chance: float | None = Field(
        description="probability that a clean series has a point as far out on this side; null: the method knows none"
    )


class Thresholds(BaseModel):
    """Scores over which a point is an anomaly; null where the method has none."""

    above: float | None
    below: float | None


class DetectResponse(BaseModel):
    """The anomalies of a series, and what they were judged by."""

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
    window: int = Field(description="points to each side that a point is held against")
    points: int
    notes: list[str] = Field(description="what could not be judged")


class DetectItem(BaseModel):
    """The answer for one series, or the problem document of one that cannot be judged."""

    found: DetectResponse | None = None
    error: dict[str, Any] | None = None


class DetectBatchResponse(BaseModel):
    """One answer a series, in order."""

    items: list[DetectItem]
