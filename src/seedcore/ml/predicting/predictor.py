"""Predicts with models from a bounded in-memory cache."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seedcore import errors
from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.data.column_encoder import Floats, to_number
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ManifestStamp, ModelStore, damaged_model
from seedcore.ml.training.train import as_probabilities
from seedcore.schemas.ml import Features, RowPrediction

CACHED_MODELS = 16
MAX_ERRORS = 20


class LoadedModel:
    """One version, ready to predict; safe to use from several threads.

    Raises:
        ConflictError: the file is not a model, or not the one that its manifest describes.
    """

    def __init__(self, manifest: ModelManifest, ubj: bytes) -> None:
        import xgboost

        self.manifest = manifest
        # One thread a call: a second one costs more than it saves and lengthens the latency tail.
        self._booster = xgboost.Booster({"nthread": 1})
        try:
            if not (ubj.startswith(b"{") and ubj.endswith(b"}")):
                # XGBoost ends the process when it reads an empty or truncated model.
                raise ValueError("it is not a complete UBJSON object")
            self._booster.load_model(bytearray(ubj))
            self._check()
        except (xgboost.core.XGBoostError, ValueError, LookupError) as error:
            # The checksum proves that the file is what was stored, not that it is a model or fits the manifest.
            reason = str(error).split("\n")[0][:200]
            raise damaged_model(manifest.name, manifest.version, f"XGBoost cannot use it ({reason})") from error
        self._positions = {name: i for i, name in enumerate(manifest.features)}

    def _check(self) -> None:
        features, manifest = self._booster.num_features(), self.manifest
        if features != len(manifest.features):
            raise ValueError(f"it takes {features} features, its manifest says {len(manifest.features)}")
        answers = np.asarray(self._booster.inplace_predict(np.zeros((1, features), dtype=np.float32)))
        width = answers.shape[1] if answers.ndim == 2 else 1
        wanted = len(manifest.labels) if manifest.task == "multiclass" else 1
        if width != wanted or (manifest.task == "binary" and len(manifest.labels) != 2):
            raise ValueError(
                f"it gives {width} numbers a row, its manifest says {manifest.task} {manifest.labels[:10]}"
            )

    def vector(self, features: Features, field: str = "features") -> list[float]:
        """One row in the model's order, NaN where a value is null.

        Raises:
            InvalidInputError: names the columns that are missing, unknown or not numbers.
        """
        names = self.manifest.features
        if isinstance(features, Mapping):
            wrong = [FieldError(f"{field}.{n}", "is missing (null is allowed)") for n in names if n not in features]
            wrong += [
                FieldError(f"{field}.{n}", f"is unknown to the model; it takes: {', '.join(names[:50])}")
                for n in features
                if n not in self._positions
            ]
            if wrong:
                raise InvalidInputError.for_fields(wrong[:MAX_ERRORS])
            values: Sequence[object] = [features[n] for n in names]
        else:
            values = features
            if len(values) != len(names):
                message = f"has {len(values)} values, the model takes {len(names)}"
                raise InvalidInputError.for_field(field, message)
        return self._numbers(values, field)

    def _numbers(self, values: Sequence[object], field: str) -> list[float]:
        row, wrong = [], []
        for name, value in zip(self.manifest.features, values, strict=True):
            try:
                row.append(to_number(value))
            except ValueError as error:
                wrong.append(FieldError(f"{field}.{name}", str(error)))
        if wrong:
            raise InvalidInputError.for_fields(wrong[:MAX_ERRORS])
        return row

    def predict(self, matrix: Floats) -> list[RowPrediction]:
        """One prediction a row of `matrix` (n, d)."""
        answers = self._booster.inplace_predict(matrix, missing=np.nan)
        if self.manifest.task == "regression":
            return [RowPrediction(prediction=value) for value in answers.tolist()]
        labels = self.manifest.labels
        names = [str(label).lower() if isinstance(label, bool) else str(label) for label in labels]
        table = as_probabilities(self.manifest.task, answers)
        return [
            RowPrediction(prediction=labels[best], probabilities=dict(zip(names, row, strict=True)))
            for best, row in zip(table.argmax(axis=1).tolist(), table.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Cached:
    stamp: ManifestStamp
    model: LoadedModel


class Predictor:
    """Loads models on first use and caches the most recently used.

    Every call checks on disk which version is the newest and whether the cached one is current, so what another replica
    trains or deletes takes effect at once.
    """

    def __init__(self, store: ModelStore, capacity: int = CACHED_MODELS) -> None:
        self.store = store
        self.capacity = capacity
        self._models: OrderedDict[tuple[str, int], _Cached] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @property
    def loaded(self) -> int:
        """How many models are in memory."""
        return len(self._models)

    def model(self, name: str, version: int | None = None) -> LoadedModel:
        """A version, or the newest.

        Raises:
            NotFoundError: there is no such model.
            ConflictError: its files are damaged.
        """
        number = self.store.latest(name) if version is None else version
        key, stamp = (name, number), self.store.stamp(name, number)
        found = self._cached(key, stamp)
        if found is not None:
            return found
        with self._loading:
            found = self._cached(key, stamp)
            if found is not None:
                return found
            model = LoadedModel(*self.store.load(name, number))
            with self._lock:
                self._models[key] = _Cached(stamp, model)
                while len(self._models) > self.capacity:
                    self._models.popitem(last=False)
            return model

    def _cached(self, key: tuple[str, int], stamp: ManifestStamp) -> LoadedModel | None:
        with self._lock:
            entry = self._models.get(key)
            if entry is None or entry.stamp != stamp:
                return None
            self._models.move_to_end(key)
            return entry.model

    def predict_one(self, name: str, version: int | None, features: Features) -> tuple[RowPrediction, ModelManifest]:
        """Predict one row.

        Raises:
            InvalidInputError: the row does not fit the model.
        """
        model = self.model(name, version)
        matrix = np.array([model.vector(features)], dtype=np.float32)
        return model.predict(matrix)[0], model.manifest

    def predict_many(
        self, name: str, version: int | None, rows: Sequence[Features]
    ) -> tuple[list[RowPrediction], ModelManifest]:
        """Predict many rows at once; a row that does not fit gets an error and does not affect the others."""
        model = self.model(name, version)
        answers: list[RowPrediction | None] = [None] * len(rows)
        vectors, places = [], []
        for i, row in enumerate(rows):
            try:
                vectors.append(model.vector(row))
                places.append(i)
            except InvalidInputError as error:
                answers[i] = RowPrediction(error=errors.problem(error))
        if vectors:
            for i, answer in zip(places, model.predict(np.array(vectors, dtype=np.float32)), strict=True):
                answers[i] = answer
        return [answer for answer in answers if answer is not None], model.manifest
