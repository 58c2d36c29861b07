"""What is stored about one version of a model, beside its file."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from seedcore.schemas.ml.model_registry import Lineage
from seedcore.schemas.ml.models import Column, Label, LabelKind, Task

__all__ = ["Lineage", "ModelManifest"]


class ModelManifest(BaseModel):
    """What is stored about one version.

    Attributes:
        columns: what is known of each feature, in the order of `features`; empty in models of earlier releases, whose
            features are numbers.
        intervals: of metrics, (low, high) with 95 % confidence.
        slices: columns whose values are judged apart at the gate, each with the loss that is allowed in one.
        outcome: what says whether a prediction was right: labels that are posted, or the success of the task that
            asked for it (`success`, for boolean labels).
        loss_scale: of a regression, what counts as a loss of 1: the 99th percentile of errors on held-out rows.
        training_time_s: how long both fits took.
        reference, reference_sha256: how many rows are kept beside the model, in `reference.npz`, as what its inputs
            looked like (at most 1,000), and the file's checksum.
    """

    name: str
    version: int
    created_at: datetime
    task: Task
    features: list[str]
    label_column: str
    label_kind: LabelKind
    labels: list[Label]
    params: dict[str, float | int]
    metrics: dict[str, float]
    n_rows: int
    sha256: str
    size_bytes: int
    xgboost_version: str
    columns: list[Column] = []
    intervals: dict[str, tuple[float, float]] = {}
    importance: dict[str, float] = {}
    slices: dict[str, float] = {}
    outcome: Literal["posted", "success"] = "posted"
    loss_scale: float | None = None
    reference: int = 0
    training_time_s: float = 0
    reference_sha256: str = ""
    lineage: Lineage = Lineage()
