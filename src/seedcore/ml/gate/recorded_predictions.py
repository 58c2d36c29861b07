"""Rows of `seedcore.predictions`: what `ml.predict` answered, and what the shadow would have."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

MAX_FEATURES = 4_096
"""Values of one row; a model with more has no row in the table."""

_INSERT = """
insert into seedcore.predictions (task_id, tenant, name, version, answer, features, seconds, promotion, candidate,
                                  candidate_answer, candidate_seconds)
select r.task_id, r.tenant, r.name, r.version, r.answer, r.features, r.seconds, r.promotion, r.candidate,
       r.candidate_answer, r.candidate_seconds
from jsonb_to_recordset($1::jsonb) as r (task_id uuid, tenant text, name text, version integer, answer jsonb,
  features real[], seconds real, promotion uuid, candidate integer, candidate_answer jsonb, candidate_seconds real)
on conflict (task_id) do nothing
"""


@dataclass(frozen=True, slots=True)
class RecordedPrediction:
    """One prediction of an `ml.predict` task.

    Attributes:
        answer: `{prediction, probabilities?}`, as the task's result has them.
        features: in the order of the model's schema; NaN or None where one is missing, categories by their number.
        seconds: that the prediction took, without the wait for a turn.
        promotion: the open one that the candidate answered for; None: there was no shadow.
        candidate_answer: the shadow's; None although there is a `candidate`: it could not answer.
    """

    task_id: UUID
    tenant: str
    name: str
    version: int
    answer: Mapping[str, object]
    features: Sequence[float | None]
    seconds: float
    promotion: UUID | None = None
    candidate: int | None = None
    candidate_answer: Mapping[str, object] | None = None
    candidate_seconds: float | None = None

    def to_row(self) -> dict[str, object]:
        """As JSON has it: PostgreSQL's `real` is single precision, and JSON has no NaN."""
        return {
            "task_id": str(self.task_id),
            "tenant": self.tenant,
            "name": self.name,
            "version": self.version,
            "answer": self.answer,
            "features": [_finite(value) for value in self.features],
            "seconds": self.seconds,
            "promotion": None if self.promotion is None else str(self.promotion),
            "candidate": self.candidate,
            "candidate_answer": self.candidate_answer,
            "candidate_seconds": self.candidate_seconds,
        }


def _finite(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    # Below and above these bounds `real` would refuse the row.
    size = abs(value)
    return math.copysign(3.4e38, value) if size > 3.4e38 else 0.0 if size < 1.2e-38 else float(value)


async def write_predictions(connection: asyncpg.Connection, predictions: Sequence[RecordedPrediction]) -> None:
    """Insert rows; of two with one task the first stays, so a batch may be sent again.

    Raises:
        ValueError: one holds a number that JSON does not have.
        asyncpg.DataError: one holds text that PostgreSQL does not take.
    """
    await connection.execute(_INSERT, json.dumps([one.to_row() for one in predictions], allow_nan=False))
