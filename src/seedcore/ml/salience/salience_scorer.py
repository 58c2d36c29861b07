"""Scores items: with the champion of the model `salience`, or by the formula while there is none that can answer."""

import asyncio
from collections.abc import Sequence

import numpy as np

from seedcore.decision.salience import AFTERWARDS, BEFOREHAND, FeatureValues, combined, formula, value_of
from seedcore.errors import ConflictError, SeedCoreError
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.predicting.predictor import Predictor
from seedcore.ml.registry.aliases import AliasCache
from seedcore.schemas.ml.models import ModelRef
from seedcore.schemas.ml.salience import SalienceResponse, SalienceScore
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

NAME = "salience"
"""The learned model."""

COLUMNS = [feature.name for feature in BEFOREHAND]

_NO_CHAMPION = f"no version of the model {NAME!r} is champion: `POST /ml/score/salience/train` trains one"


class SalienceScorer:
    """See the module.

    Attributes:
        failing: why the champion did not answer the last request; None: it did, or there is none.
        fallbacks: requests that the formula answered though there is a champion.
    """

    def __init__(self, predictor: Predictor, aliases: AliasCache) -> None:
        self._predictor, self._aliases = predictor, aliases
        self.failing: str | None = None
        self.fallbacks = 0

    async def score(self, items: Sequence[FeatureValues]) -> SalienceResponse:
        """One score for each item, in order."""
        try:
            version = (await self._aliases.current()).of(NAME).get("champion")
            if version is None:
                self.failing = None
                return SalienceResponse(scores=[_by_formula(item) for item in items], reason=_NO_CHAMPION)
            predicted = await asyncio.to_thread(self.predict, version, items)
        except SeedCoreError as error:
            self._note_fallback(error.detail)
            return SalienceResponse(scores=[_by_formula(item) for item in items], reason=error.detail)
        self.failing = None
        # The model foretells what becomes of a task; what is known of that already counts on top.
        answered = ModelRef(name=NAME, version=version)
        scores = [
            SalienceScore(score=combined(known, formula(item, AFTERWARDS)), source="learned", model=answered)
            for known, item in zip(predicted, items, strict=True)
        ]
        return SalienceResponse(scores=scores)

    def predict(self, version: int, items: Sequence[FeatureValues]) -> list[float]:
        """What a version foretells for each item, in [0, 1].

        Raises:
            NotFoundError: its files are gone.
            ConflictError: they are damaged, or it is no model of the salience.
        """
        return foretell(self._predictor.model(NAME, version), items)

    def _note_fallback(self, reason: str) -> None:
        if self.failing is None:
            get_logger("seedcore.MLService").warning("the salience's champion does not answer", reason=reason)
        self.failing = reason
        self.fallbacks += 1
        counter("seedcore_fallbacks_total").add(1, fallback="salience_formula")

    def health(self) -> dict[str, object]:
        """Requests that the formula answered though there is a champion, and why it did the last one."""
        report: dict[str, object] = {"fallbacks": self.fallbacks}
        return report if self.failing is None else report | {"failing": self.failing}


def foretell(model: LoadedModel, items: Sequence[FeatureValues]) -> list[float]:
    """What a version foretells for each item, in [0, 1].

    Raises:
        ConflictError: it is no model of the salience.
    """
    manifest = model.manifest
    if manifest.features != COLUMNS or manifest.task != "regression":
        raise ConflictError(
            f"Version {manifest.version} of the model {NAME!r} does not take the features of the salience "
            f"({', '.join(COLUMNS)}): `POST /ml/score/salience/train` trains one that does."
        )
    if not items:
        return []
    matrix = np.array([feature_row(item) for item in items], dtype=np.float32)
    return [min(max(float(value), 0.0), 1.0) for value, _ in model.answer(matrix)]


def feature_row(item: FeatureValues) -> list[float]:
    """An item as the model takes it, in the order of COLUMNS: unknown features have their defaults."""
    return [value_of(feature, item) for feature in BEFOREHAND]


def _by_formula(item: FeatureValues) -> SalienceScore:
    return SalienceScore(score=formula(item), source="formula")
