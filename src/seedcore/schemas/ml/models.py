"""Models of the ML service: training, predictions and the list of models."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_BATCH_ROWS = 10_000
MIN_TRAIN_ROWS = 10

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
MAX_VERSION = 2**63 - 1
Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]
Label = bool | int | float | str
LabelKind = Literal["integer", "string", "boolean", "number"]
Features = dict[str, object] | list[object]
Task = Literal["binary", "multiclass", "regression"]


class ModelRequest(BaseModel):
    """A request that takes no unknown fields."""

    model_config = ConfigDict(extra="forbid")


class HistorySource(ModelRequest):
    """Training data from ended tasks of the caller's tenant: one query over the view `seedcore.history`."""

    sql: str = Field(min_length=1, max_length=20_000)


class RecordedSource(ModelRequest):
    """Training data from what `ml.predict` tasks asked of a model, with what was true of them (`/ml/outcomes`)."""

    recorded: ModelName = Field(description="The model's name; its features are the columns.")
    rows: int = Field(10_000, ge=MIN_TRAIN_ROWS, le=1_000_000, description="The newest ones.")


Margin = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class TrainRequest(ModelRequest):
    """A training set and its parameters. Give exactly one of `dataset`, `rows` with `columns`, and `data_source`.

    Features are numbers, booleans, text (categories) or null (missing). Integer, text and boolean labels mean
    classification, float labels mean regression.
    """

    name: ModelName
    dataset: list[dict[str, object]] | None = Field(None, description="One object a row, each with the same columns.")
    rows: list[list[object]] | None = Field(None, description="One list a row, in the order of `columns`.")
    columns: list[str] | None = Field(None, description="Names of the columns of `rows`, including the label's.")
    data_source: str | HistorySource | RecordedSource | None = Field(
        None,
        description="A CSV or Parquet file, relative to `datasets` in the data directory; `bundled:NAME`, one of "
        "scikit-learn's sets; `{sql}`, a query over `seedcore.history`; or `{recorded}`, a model's recorded "
        "predictions with their outcomes. Labels in a CSV are numbers when all are plain numbers, else text: `007` is "
        "text.",
    )
    label_column: str
    weight_column: str | None = Field(None, description="Weights of the rows, not negative; no feature.")
    time_column: str | None = Field(
        None,
        description="When each row was: numbers or ISO 8601 times. The newest rows are held out then; no feature.",
    )
    category_columns: list[str] = Field(
        default_factory=list, max_length=4096, description="Columns of categories, besides those that hold text."
    )
    early_stopping_rounds: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Stop when so many rounds did not improve a fifth of the rows that are not held out.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="`cuda` needs the extra `gpu`.")
    slices: dict[str, Margin] = Field(
        default_factory=dict,
        max_length=20,
        description="Columns whose values the gate judges apart, each with how much loss one value may gain.",
    )
    outcome: Literal["posted", "success"] = Field(
        "posted",
        description="What says whether a prediction was right: labels that are posted, or the success of the task that "
        "asked for it.",
    )
    parent: Version | None = Field(None, description="The version that this one follows, for its lineage.")
    params: dict[str, object] = Field(
        default_factory=dict, description="XGBoost parameters; only known ones are allowed."
    )

    @model_validator(mode="after")
    def _one_source(self) -> "TrainRequest":
        given = [n for n in ("dataset", "rows", "data_source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of dataset, rows with columns, data_source; given: {given or 'none'}")
        if (self.rows is None) != (self.columns is None):
            raise ValueError("rows and columns go together")
        return self


class DatasetFile(BaseModel):
    """A file that models can be trained on; `file` is its `data_source`."""

    file: str
    bytes: int
    stored_at: datetime


class DatasetList(BaseModel):
    """All files of training sets."""

    files: list[DatasetFile]


class JobAccepted(BaseModel):
    """A job: a task, which `GET /api/v1/tasks/{job_id}` shows."""

    job_id: str


class Column(BaseModel):
    """One feature column."""

    name: str
    type: Literal["number", "category", "boolean"] = "number"
    categories: list[str] | None = Field(None, description="Those of the training set, in the order of their numbers.")
    low: float | None = Field(None, description="The smallest value of the training set.")
    high: float | None = Field(None, description="The largest value of the training set.")
    missing: int = Field(0, description="Rows of the training set without a value.")


class ModelSchema(BaseModel):
    """The features that a model takes, and its labels."""

    features: list[Column]
    label_column: str
    label_type: LabelKind
    labels: list[Label] | None = Field(None, description="The classes; null for regression.")
    task: Task


class TrainResponse(BaseModel):
    """A trained model. The metrics are of held-out rows; the stored model was trained on all rows."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    name: str
    version: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="(low, high) of metrics, with 95 % confidence."
    )
    importance: dict[str, float] = Field(
        default_factory=dict, description="Each feature's share of the gain of all splits, the largest first."
    )
    training_time_s: float
    model_schema: ModelSchema = Field(alias="schema")


class ModelRef(BaseModel):
    """The version that answered."""

    name: str
    version: int


class VersionRequest(ModelRequest):
    """A request for a model: a version of it, an alias, or neither."""

    name: ModelName
    version: Version | None = None
    alias: Literal["champion", "candidate", "latest"] | None = Field(
        None, description="By default the champion answers, and where there is none, the newest version."
    )

    @model_validator(mode="after")
    def _version_or_alias(self) -> "VersionRequest":
        if self.version is not None and self.alias is not None:
            raise ValueError("give version or alias, not both")
        return self


class PredictRequest(VersionRequest):
    """One row for one model; the champion answers unless a version or alias is named, or the newest without one."""

    contributions: bool = Field(False, description="Also say how much each column moved the answer.")
    features: Features = Field(description="{column: value}, or the values in the order of the model's schema.")


def _is_none(value: object) -> bool:
    return value is None


Contributions = Annotated[
    dict[str, float] | None,
    Field(
        exclude_if=_is_none,
        description="{column: its part of the margin}, and `bias`; they sum to the margin, of several classes that of "
        "the predicted one.",
    ),
]
Warnings = Annotated[
    list[dict[str, str]] | None,
    Field(exclude_if=_is_none, description="`{field, message}` of categories that training did not see."),
]


class PredictResponse(BaseModel):
    """The label (classification) or the value (regression); `probabilities` are by label, null for regression."""

    prediction: Label
    probabilities: dict[str, float] | None = None
    contributions: Contributions = None
    warnings: Warnings = None
    model: ModelRef


class BatchPredictRequest(VersionRequest):
    """Many rows for one model."""

    contributions: bool = Field(False, description="Also say how much each column moved each answer.")
    rows: list[Features] = Field(min_length=1, max_length=MAX_BATCH_ROWS)


class RowPrediction(BaseModel):
    """The answer for one row: a prediction, or a problem document if the row does not fit the model."""

    prediction: Label | None = None
    probabilities: dict[str, float] | None = None
    contributions: Contributions = None
    warnings: Warnings = None
    error: dict[str, object] | None = None


class BatchPredictResponse(BaseModel):
    """One answer a row, in order."""

    predictions: list[RowPrediction]
    model: ModelRef
