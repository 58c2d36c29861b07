"""Models of the registry: its list, one version, imports, refreshing and deletion."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seedcore.schemas.ml.models import (
    Label,
    ModelName,
    ModelRef,
    ModelRequest,
    ModelSchema,
    Task,
    Version,
    VersionRequest,
)


class ModelQuery(VersionRequest):
    """Which model to describe."""


class DeleteRequest(ModelRequest):
    """Which versions to delete: one, or all of the name."""

    name: ModelName
    version: Version | None = None
    force: bool = Field(
        False,
        description="Also delete what an alias means, and the alias; an open promotion or a job refuses it still.",
    )


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
    aliases: dict[str, int] | None = Field(None, description="Versions by alias; null: they are not known now.")


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


class Lineage(BaseModel):
    """Where a version comes from.

    Attributes:
        source: kind of its data: `rows`, `file`, `history`, `predictions`, `bundled` or `import`.
        data_sha256: of the table that it was trained on.
        query: the SELECT over `seedcore.history`, or the file's name.
        code_version: of SeedCore.
        parent: the version of the same name that it follows: retrained from, or tuned beside.
        job_id: the task that trained it; with it a repeated attempt finds what an earlier one stored.
    """

    source: str = "rows"
    data_sha256: str = ""
    query: str | None = None
    code_version: str = ""
    parent: int | None = None
    job_id: str | None = None


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
    aliases: dict[str, int] | None = Field(
        None, description="Versions by alias, `champion` and `candidate`; null: they are not known now."
    )
    intervals: dict[str, tuple[float, float]] = Field({}, description="Of metrics, with 95 % confidence.")
    importance: dict[str, float] = {}
    slices: dict[str, float] = {}
    outcome: Literal["posted", "success"] = "posted"
    loss_scale: float | None = None
    reference: int = Field(0, description="Rows of its training data that are kept beside it.")
    lineage: Lineage = Lineage()


class LoadRequest(ModelRequest):
    """A model that was trained elsewhere, to be stored as the next version of a name."""

    name: ModelName
    path: str = Field(
        min_length=1,
        max_length=1_000,
        description="A file `.ubj` or `.json` of XGBoost, below the folder `.import` of the model folder.",
    )
    labels: list[Label] | None = Field(
        None, max_length=256, description="The classes in the order of their numbers; by default 0, 1, … as integers."
    )


class LoadResponse(BaseModel):
    """The stored version; imported models have no metrics."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    name: str
    version: int
    sha256: str
    size_bytes: int
    model_schema: ModelSchema = Field(alias="schema")


class RefreshRequest(ModelRequest):
    """Look at the model folder and at PostgreSQL again: for one name, or for all."""

    name: ModelName | None = None


class AliasChange(BaseModel):
    """An alias that means another version than this replica knew."""

    name: str
    alias: str
    before: int | None
    now: int | None


class RefreshResponse(BaseModel):
    """What changed since this replica last looked."""

    added: list[ModelRef] = Field(description="Versions that it did not know; at the first look, none.")
    gone: list[ModelRef] = Field(description="Versions that are no longer stored.")
    aliases: list[AliasChange]
    evicted: list[ModelRef] = Field(description="Versions that it had in memory, and has no longer.")
    loaded: list[ModelRef] = Field(description="Versions that it has in memory now.")
    models: int = Field(description="Names that have a version.")
    versions: int
    broken: list[BrokenModel] = Field(description="Newest versions whose manifest cannot be read.")
