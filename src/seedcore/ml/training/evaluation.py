"""Measures how good predictions are on rows that the model has not seen."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def classification(targets: Array, probabilities: Array) -> dict[str, float]:
    """Accuracy, log loss and, for two classes, the area under the ROC curve.

    Args:
        targets: class numbers (n,).
        probabilities: (n, k).
    """
    codes = targets.astype(np.int64)
    chosen = probabilities[np.arange(len(codes)), codes].astype(np.float64)
    found = {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == codes)),
        "logloss": float(-np.mean(np.log(np.clip(chosen, 1e-15, 1.0)))),
    }
    if probabilities.shape[1] == 2:
        found["auc"] = auc(codes == 1, probabilities[:, 1])
    return found


def auc(positive: NDArray[np.bool_], scores: Array) -> float:
    """The chance that a positive row scores above a negative one, ties counted half (Mann-Whitney)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(counts) - (counts - 1) / 2
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    rank_sum = float(middle_ranks[inverse][positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def regression(targets: Array, predictions: Array) -> dict[str, float]:
    """RMSE, MAE and, where the targets vary, R²."""
    exact = targets.astype(np.float64)
    error = predictions.astype(np.float64) - exact
    found = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
    spread = float(np.sum((exact - exact.mean()) ** 2))
    if spread > 0:
        found["r2"] = 1 - float(np.sum(error**2)) / spread
    return found
