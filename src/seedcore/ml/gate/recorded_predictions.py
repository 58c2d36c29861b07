"""Rows of `seedcore.predictions`: what `ml.predict` answered, and what the shadow would have."""

import json
import math
from collections.abc import Sequence

import asyncpg

from seedcore.ml.predicting.prediction_row import ModelAnswer, PredictionRow

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


def _columns(row: PredictionRow) -> dict[str, object]:
    """As JSON has it: PostgreSQL's `real` is single precision, and JSON has no NaN."""
    return {
        "task_id": row.task_id,
        "tenant": row.tenant,
        "name": row.name,
        "version": row.version,
        "answer": _answer(row.answer),
        "features": [_finite(value) for value in row.features],
        "seconds": row.seconds,
        "promotion": row.promotion,
        "candidate": row.candidate,
        "candidate_answer": None if row.candidate_answer is None else _answer(row.candidate_answer),
        "candidate_seconds": row.candidate_seconds,
    }


def _answer(answer: ModelAnswer) -> dict[str, object]:
    # `asdict` copies deeply, which took a third of the time that recording takes.
    return {"prediction": answer.prediction, "probabilities": answer.probabilities}


def _finite(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    # Below and above these bounds `real` would refuse the row.
    size = abs(value)
    return math.copysign(3.4e38, value) if size > 3.4e38 else 0.0 if size < 1.2e-38 else float(value)


async def write_predictions(connection: asyncpg.Connection, rows: Sequence[PredictionRow]) -> None:
    """Insert rows; of two with one task the first stays, so a batch may be sent again.

    Raises:
        ValueError: one holds a number that JSON does not have.
        asyncpg.DataError: one holds text that PostgreSQL does not take.
    """
    await connection.execute(_INSERT, json.dumps([_columns(row) for row in rows], allow_nan=False))
