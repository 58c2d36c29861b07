"""What is recorded of one prediction, and who takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from seedcore.schemas.ml.models import Label


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What a version answered for one row: the label or value, and of classes their probabilities by label."""

    prediction: Label
    probabilities: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One answered `ml.predict` task of a name that has a champion.

    Attributes:
        features: in the order of the model's schema, NaN where one is missing, categories by their number.
        seconds: this row's part of what predicting took.
        promotion: the open promotion whose candidate answered along; None: none did.
        candidate_answer: what the candidate said; no caller gets it.
    """

    task_id: str
    tenant: str
    name: str
    version: int
    answer: ModelAnswer
    features: Sequence[float]
    seconds: float
    promotion: str | None = None
    candidate: int | None = None
    candidate_answer: ModelAnswer | None = None
    candidate_seconds: float | None = None


class RecordsPredictions(Protocol):
    """Takes rows and stores them later, off the path of the prediction."""

    def record(self, row: PredictionRow, /) -> None:
        """Take one row; returns at once and never raises for a store that is away."""

    async def aclose(self) -> None:
        """Store what is left."""
