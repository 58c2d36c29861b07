"""Predicts with the versions that aliases mean; one version answers all rows of a call."""

import asyncio
import time
from collections.abc import Sequence

from seedcore import errors
from seedcore.errors import InvalidInputError, NotFoundError
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.predicting.model_cache import ModelCache
from seedcore.ml.registry.aliases import AliasCache
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml.models import Features, RowPrediction
from seedcore.telemetry.metrics.metric_registry import counter

INLINE_S = 0.003
"""Work of less time than this is done in the event loop: a thread would cost it more."""
INLINE_ROWS = 64
"""Rows that a model may be asked for in the event loop before it is known what a row takes."""
MAX_CONTRIBUTIONS = 1_000_000
"""Numbers of contributions in one answer."""


class Predictor:
    """Finds the version that is asked for, loads it when it is not in memory, and predicts with it.

    Every call looks at the disk and, at most every 100 ms, at PostgreSQL, so what another process trains, promotes or
    deletes takes effect at once. It belongs to one event loop.
    """

    def __init__(self, store: ModelStore, aliases: AliasCache, max_bytes: int) -> None:
        self.store, self.aliases = store, aliases
        self.models = ModelCache(store, max_bytes)

    @property
    def loaded(self) -> int:
        """How many models are in memory."""
        return len(self.models)

    def ready(self, name: str, version: int | None = None, alias: str | None = None) -> LoadedModel | None:
        """The version that is asked for if nothing has to be waited for: aliases are current, and it is in memory."""
        if version is None and alias != "latest":
            aliases = self.aliases.fresh()
            if aliases is None:
                return None
            try:
                version = aliases.resolve(name, version, alias)
            except NotFoundError:
                return None
        try:
            return self.models.peek(name, self.store.latest(name) if version is None else version)
        except NotFoundError:
            return None

    async def find(self, name: str, version: int | None = None, alias: str | None = None) -> LoadedModel:
        """The version that is asked for: `version`, else what the alias means, else the champion, else the newest.

        Raises:
            NotFoundError: there is no such model, version or alias.
            ConflictError: its files are damaged.
            UnavailableError: it depends on aliases, and PostgreSQL has never answered.
        """
        found = self.ready(name, version, alias)
        if found is not None:
            return found
        number = await self.aliases.resolve(name, version, alias)
        try:
            return await asyncio.to_thread(self.model, name, number)
        except NotFoundError:
            if version is not None:
                raise
        # What was asked for by alias, or as the newest, may have been replaced and deleted since.
        await self.aliases.renew()
        return await asyncio.to_thread(self.model, name, await self.aliases.resolve(name, version, alias))

    def model(self, name: str, version: int | None = None) -> LoadedModel:
        """A version, or the newest, from memory or from its files; callable from any thread.

        Raises:
            NotFoundError: there is no such model.
            ConflictError: its files are damaged.
        """
        return self.models.get(name, self.store.latest(name) if version is None else version)

    async def predict_one(
        self,
        name: str,
        version: int | None,
        features: Features,
        alias: str | None = None,
        *,
        contributions: bool = False,
    ) -> tuple[RowPrediction, LoadedModel]:
        """Predict one row.

        Raises:
            InvalidInputError: the row does not fit the model.
        """
        [row], model = await self.predict_many(name, version, [features], alias, contributions=contributions)
        if row.error is not None:
            raise errors.from_problem(row.error)
        return row, model

    async def predict_many(
        self,
        name: str,
        version: int | None,
        rows: Sequence[Features],
        alias: str | None = None,
        *,
        contributions: bool = False,
    ) -> tuple[list[RowPrediction], LoadedModel]:
        """Predict many rows at once; a row that does not fit gets an error and does not affect the others.

        Raises:
            InvalidInputError: contributions of too many rows are asked for.
        """
        model = await self.find(name, version, alias)
        if contributions and len(rows) * len(model.manifest.features) > MAX_CONTRIBUTIONS:
            message = f"rows times columns must be at most {MAX_CONTRIBUTIONS} for contributions"
            raise InvalidInputError.for_field("contributions", message)
        if is_short(model, len(rows)) and not contributions:
            return row_predictions(model, rows), model
        return await asyncio.to_thread(row_predictions, model, rows, contributions=contributions), model


def is_short(model: LoadedModel, rows: int) -> bool:
    """Whether predicting so many rows is better done in the event loop than in a thread."""
    return rows <= INLINE_ROWS if model.row_seconds == 0.0 else rows * model.row_seconds < INLINE_S


def row_predictions(
    model: LoadedModel, rows: Sequence[Features], *, contributions: bool = False
) -> list[RowPrediction]:
    """One answer a row, in order: a prediction, or a problem document."""
    began = time.perf_counter()
    encoded = model.encode(rows)
    answers: list[RowPrediction | None] = [None] * len(rows)
    if encoded.places:
        for i, answer in zip(encoded.places, model.predict(encoded.matrix), strict=True):
            answers[i] = answer
        model.row_seconds = (time.perf_counter() - began) / len(rows)
        if contributions:
            for i, parts in zip(encoded.places, model.contributions(encoded.matrix), strict=True):
                _given(answers[i]).contributions = parts
    for i, error in encoded.errors.items():
        answers[i] = RowPrediction(error=errors.problem(error))
    for i, warnings in encoded.warnings.items():
        _given(answers[i]).warnings = [{"field": w.field, "message": w.message} for w in warnings]
    counter("seedcore_model_predictions_total").add(
        len(encoded.places), model=model.manifest.name, version=str(model.manifest.version)
    )
    return [_given(answer) for answer in answers]


def _given(answer: RowPrediction | None) -> RowPrediction:
    assert answer is not None
    return answer
