"""Models of the ML service: training, predictions and the list of models."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_BATCH_ROWS = 10_000
MIN_TRAIN_ROWS = 10

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Version = Annotated[int, Field(ge=1)]
Label = bool | int | float | str
LabelKind = Literal["integer", "string", "boolean", "number"]
Features = dict[str, object] | list[object]
Task = Literal["binary", "multiclass", "regression"]


class _ModelRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HistorySource(_ModelRequest):
    """Training data from ended tasks of the caller's tenant: one query over the view `seedcore.history`."""

    sql: str = Field(min_length=1, max_length=20_000)


class RecordedSource(_ModelRequest):
    """Training data from what `ml.predict` tasks asked of a model, with what was true of them (`/ml/outcomes`)."""

    recorded: ModelName = Field(description="The model's name; its features are the columns.")
    rows: int = Field(10_000, ge=MIN_TRAIN_ROWS, le=1_000_000, description="The newest ones.")


Margin = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class TrainRequest(_ModelRequest):
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


class _VersionRequest(_ModelRequest):
    name: ModelName
    version: Version | None = None
    alias: Literal["latest"] | None = None

    @model_validator(mode="after")
    def _version_or_alias(self) -> "_VersionRequest":
        if self.version is not None and self.alias is not None:
            raise ValueError("give version or alias, not both")
        return self


class PredictRequest(_VersionRequest):
    """One row for one model; the newest version answers unless one is named."""

    features: Features = Field(description="{column: value}, or the values in the order of the model's schema.")


class PredictResponse(BaseModel):
    """The label (classification) or the value (regression); `probabilities` are by label, null for regression."""

    prediction: Label
    probabilities: dict[str, float] | None = None
    model: ModelRef


class BatchPredictRequest(_VersionRequest):
    """Many rows for one model."""

    rows: list[Features] = Field(min_length=1, max_length=MAX_BATCH_ROWS)


class RowPrediction(BaseModel):
    """The answer for one row: a prediction, or a problem document if the row does not fit the model."""

    prediction: Label | None = None
    probabilities: dict[str, float] | None = None
    error: dict[str, object] | None = None


class BatchPredictResponse(BaseModel):
    """One answer a row, in order."""

    predictions: list[RowPrediction]
    model: ModelRef


class ModelQuery(_VersionRequest):
    """Which model to describe."""


class DeleteRequest(_ModelRequest):
    """Which versions to delete: one, or all of the name."""

    name: ModelName
    version: Version | None = None


class DeleteResponse(BaseModel):
    """The deleted versions. Their numbers are never used again."""

    name: str
    deleted: list[int]


class ModelSummary(BaseModel):
    """One model name; task, label and metrics are those of the newest version."""

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
    """All models, and versions that cannot be read."""

    models: list[ModelSummary]
    total_count: int
    broken: list[BrokenModel]


class ModelInfo(BaseModel):
    """All that is stored about one version."""

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
