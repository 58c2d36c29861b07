"""The rows to record of a batch, with what the candidate says of the same tasks."""

import time
from collections.abc import Sequence

from seedcore.ml.predicting.batch_answers import BatchAnswers
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.predicting.prediction_row import ModelAnswer, PredictionRow
from seedcore.ml.registry.aliases import Shadow
from seedcore.schemas.ml.models import Features


def prediction_rows(
    model: LoadedModel,
    answers: BatchAnswers,
    asked: Sequence[tuple[str, str, Features]],
    shadow: Shadow | None,
    candidate: LoadedModel | None,
) -> list[PredictionRow]:
    """One row for each that `model` answered.

    Args:
        model: the version that answered.
        answers: what it said.
        asked: task id, tenant and features of each row of the batch.
        shadow: the open promotion.
        candidate: its candidate; None although there is a `shadow`: it cannot be loaded.
    """
    places = answers.encoded.places
    features = answers.encoded.matrix.tolist()
    shadowed, seconds = _shadowed(answers, asked, candidate)
    return [
        PredictionRow(
            asked[i][0],
            asked[i][1],
            model.manifest.name,
            model.manifest.version,
            ModelAnswer(*answers.answers[k]),
            features[k],
            answers.seconds,
            None if shadow is None else shadow.promotion,
            None if shadow is None else shadow.candidate,
            shadowed.get(i),
            seconds if i in shadowed else None,
        )
        for k, i in enumerate(places)
    ]


def _shadowed(
    answers: BatchAnswers,
    asked: Sequence[tuple[str, str, Features]],
    candidate: LoadedModel | None,
) -> tuple[dict[int, ModelAnswer], float]:
    """(the candidate's answer by place in the batch, seconds a row)."""
    places = answers.encoded.places
    if candidate is None or not places:
        return {}, 0.0
    began = time.perf_counter()
    # Both pay for the encoding, so that their times compare.
    encoded = candidate.encode([asked[i][2] for i in places])
    found = candidate.answer(encoded.matrix) if encoded.places else []
    seconds = candidate.row_seconds = (time.perf_counter() - began) / len(places)
    return {places[k]: ModelAnswer(*answer) for k, answer in zip(encoded.places, found, strict=True)}, seconds
