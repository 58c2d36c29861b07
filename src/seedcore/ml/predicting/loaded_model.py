"""One version of a model, ready to predict."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seedcore.ml.data.column_encoder import ColumnEncoder, EncodedRows, Floats, feature_types
from seedcore.ml.registry.model_files import damaged_model
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.training.train import as_probabilities
from seedcore.schemas.ml.models import Features, Label, ModelRef, RowPrediction

if TYPE_CHECKING:
    import xgboost

BIAS = "bias"
Answer = tuple[Label, dict[str, float] | None]
"""Label or value, and the probabilities of classes by label."""


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
        self.encoder = ColumnEncoder(manifest.features, manifest.columns)
        self.reference = ModelRef(name=manifest.name, version=manifest.version)
        self.row_seconds = 0.0
        """What a row took when a batch was last predicted, in seconds; 0.0: none was yet."""
        labels = manifest.labels
        self._names = [str(label).lower() if isinstance(label, bool) else str(label) for label in labels]

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

    def encode(self, rows: Sequence[Features]) -> EncodedRows:
        """Rows in the model's order; a row that does not fit has its error and affects no other."""
        return self.encoder.rows(rows)

    def answer(self, matrix: Floats) -> list[Answer]:
        """One answer a row of `matrix` (n, d)."""
        # The encoder has given the width that XGBoost would look for.
        answers = self._booster.inplace_predict(matrix, missing=np.nan, validate_features=False)
        if self.manifest.task == "regression":
            return [(value, None) for value in answers.tolist()]
        labels, names = self.manifest.labels, self._names
        if self.manifest.task == "binary":
            (no, yes), (first, second) = labels, names
            return [(yes if p > 0.5 else no, {first: 1.0 - p, second: p}) for p in answers.tolist()]
        table = as_probabilities(self.manifest.task, answers)
        return [
            (labels[best], dict(zip(names, row, strict=True)))
            for best, row in zip(table.argmax(axis=1).tolist(), table.tolist(), strict=True)
        ]

    def predict(self, matrix: Floats) -> list[RowPrediction]:
        """One prediction a row of `matrix` (n, d)."""
        return [RowPrediction(prediction=label, probabilities=shares) for label, shares in self.answer(matrix)]

    def margins(self, matrix: Floats) -> NDArray[np.float32]:
        """(n,) or (n, classes): the sums of trees, before they become probabilities."""
        return np.asarray(self._booster.inplace_predict(matrix, missing=np.nan, predict_type="margin"))

    def contributions(self, matrix: Floats) -> list[dict[str, float]]:
        """How much each column moved a row's margin, and `bias`, the margin of no row in particular; they sum to it.

        Exact Shapley values of the trees. With more than two classes the margin is that of the predicted class. The
        bias of a model that has a column of that name is called `(bias)`.
        """
        table = np.asarray(self._booster.predict(self._data(matrix), pred_contribs=True))
        if table.ndim == 3:
            table = table[np.arange(len(table)), self.margins(matrix).argmax(axis=1)]
        names = [*self.manifest.features, f"({BIAS})" if BIAS in self.manifest.features else BIAS]
        return [dict(zip(names, row, strict=True)) for row in table.tolist()]

    def _data(self, matrix: Floats) -> "xgboost.DMatrix":
        import xgboost

        types = feature_types(self.encoder.columns)
        return xgboost.DMatrix(
            matrix,
            missing=np.nan,
            nthread=1,
            feature_types=types,
            feature_names=self._booster.feature_names,
            enable_categorical=types is not None,
        )
