"""Answers the rows of one batch with one version."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seedcore.errors import InvalidInputError
from seedcore.ml.data.column_encoder import EncodedRows
from seedcore.ml.predicting.loaded_model import Answer, LoadedModel
from seedcore.schemas.ml.models import Features, PredictResponse
from seedcore.telemetry.metrics.metric_registry import counter


@dataclass(frozen=True, slots=True)
class BatchAnswers:
    """What a version answered.

    Attributes:
        responses: one a row: the answer, or why the row does not fit.
        encoded: the rows that fit.
        answers: of the rows that fit, in their order.
        seconds: what each of them took, without waiting.
    """

    responses: list[PredictResponse | InvalidInputError]
    encoded: EncodedRows
    answers: list[Answer]
    seconds: float


def answer_batch(model: LoadedModel, rows: Sequence[tuple[Features, bool]]) -> BatchAnswers:
    """Answer rows, each with whether its contributions are asked for."""
    began = time.perf_counter()
    encoded = model.encode([features for features, _ in rows])
    answers = model.answer(encoded.matrix) if encoded.places else []
    seconds = (time.perf_counter() - began) / len(rows)
    model.row_seconds = seconds
    responses = list[PredictResponse | InvalidInputError | None](encoded.errors.get(i) for i in range(len(rows)))
    reference, construct = model.reference, PredictResponse.model_construct
    for i, (label, shares) in zip(encoded.places, answers, strict=True):
        responses[i] = construct(prediction=label, probabilities=shares, model=reference)
    for i, warnings in encoded.warnings.items():
        _answered(responses[i]).warnings = [{"field": w.field, "message": w.message} for w in warnings]
    asked = [k for k, i in enumerate(encoded.places) if rows[i][1]]
    if asked:
        for k, parts in zip(asked, model.contributions(encoded.matrix[np.array(asked)]), strict=True):
            _answered(responses[encoded.places[k]]).contributions = parts
    version = str(model.manifest.version)
    counter("seedcore_model_predictions_total").add(len(answers), model=model.manifest.name, version=version)
    return BatchAnswers([r for r in responses if r is not None], encoded, answers, seconds)


def _answered(response: PredictResponse | InvalidInputError | None) -> PredictResponse:
    assert isinstance(response, PredictResponse)
    return response
