"""Measures how good predictions are on rows that the model has not seen, with 95 % confidence intervals.

| metric | interval |
|---|---|
| accuracy | Wilson's score interval (Wilson 1927) |
| auc | DeLong's variance by midranks (DeLong 1988; Sun and Xu 2014); without any, Wilson's of the smaller class |
| logloss, mae | of a mean, by its standard error |
| rmse, r2 | the delta method |
| calibration_error | parametric bootstrap of its bins, 1,000 draws |

The intervals say what the held-out rows leave open about this model, not what another training set would give.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seedcore.pricing.wilson import Z, wilson

Array = NDArray[np.floating]
Interval = tuple[float, float]

BINS = 10


@dataclass(slots=True)
class Measured:
    """Metrics by name, and the 95 % confidence intervals of those that have one."""

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)

    def add(self, name: str, value: float, interval: Interval | None) -> None:
        """Note a metric."""
        self.metrics[name] = value
        if interval is not None and all(map(np.isfinite, interval)):
            self.intervals[name] = interval


def classification(targets: Array, probabilities: Array) -> Measured:
    """Accuracy, log loss, calibration error and, for two classes that both occur, the area under the ROC curve.

    Args:
        targets: class numbers (n,).
        probabilities: (n, k).
    """
    codes = targets.astype(np.int64)
    best = probabilities.argmax(axis=1)
    right = best == codes
    losses = -np.log(np.clip(probabilities[np.arange(len(codes)), codes].astype(np.float64), 1e-15, 1.0))
    found = Measured()
    found.add("accuracy", float(np.mean(right)), wilson(int(right.sum()), len(right)))
    found.add("logloss", float(np.mean(losses)), _of_mean(losses, low=0.0))
    confidence = probabilities[np.arange(len(codes)), best].astype(np.float64)
    found.add("calibration_error", *calibration_error(confidence, right))
    if probabilities.shape[1] == 2 and 0 < codes.sum() < len(codes):
        found.add("auc", *auc(codes == 1, probabilities[:, 1]))
    return found


def auc(positive: NDArray[np.bool_], scores: Array) -> tuple[float, Interval]:
    """The chance that a positive row scores above a negative one (Mann-Whitney, ties count half), and its interval."""
    ranks = _midranks(scores)
    m, n = int(positive.sum()), int((~positive).sum())
    value = (float(ranks[positive].sum()) - m * (m + 1) / 2) / (m * n)
    # For each row, the share of the other class that it is ordered rightly with.
    of_positive = (ranks[positive] - _midranks(scores[positive])) / n
    of_negative = 1 - (ranks[~positive] - _midranks(scores[~positive])) / m
    variance = _variance(of_positive) / m + _variance(of_negative) / n
    if variance == 0:
        fewer = min(m, n)
        return value, wilson(round(value * fewer), fewer)
    spread = Z * variance**0.5
    return value, (max(0.0, value - spread), min(1.0, value + spread))


def _midranks(scores: Array) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return middle[inverse]


def _variance(values: NDArray[np.float64]) -> float:
    return float(np.var(values, ddof=1)) if len(values) > 1 else 0.0


def calibration_error(confidence: Array, right: NDArray[np.bool_]) -> tuple[float, Interval | None]:
    """How far stated probabilities are from what came true (expected calibration error), and its interval.

    The rows are put into BINS bins of equal counts by the probability of the predicted class; it is the mean gap
    between that probability and the share that was right.
    """
    order = np.argsort(confidence, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    share = np.array([len(part) for part in bins]) / len(order)
    gaps = np.array([confidence[part].mean() - right[part].mean() for part in bins])
    value = float(np.sum(share * np.abs(gaps)))
    if len(order) < 2 * BINS:
        return value, None
    spread = np.array([np.std(confidence[part] - right[part], ddof=1) / len(part) ** 0.5 for part in bins])
    drawn = gaps + spread * np.random.default_rng(0).standard_normal((1000, len(bins)))
    low, high = np.quantile(np.abs(drawn) @ share, (0.025, 0.975))
    # The basic interval: an error of zero is always drawn above zero.
    return value, (max(0.0, float(2 * value - high)), max(value, float(2 * value - low)))


def regression(targets: Array, predictions: Array) -> Measured:
    """RMSE, MAE and, where the targets vary, R²."""
    exact = targets.astype(np.float64)
    error = predictions.astype(np.float64) - exact
    squares = error**2
    mean_square = float(np.mean(squares))
    found = Measured()
    rmse = mean_square**0.5
    spread = Z * _standard_error(squares) / (2 * rmse) if rmse > 0 else 0.0
    found.add("rmse", rmse, (max(0.0, rmse - spread), rmse + spread))
    found.add("mae", float(np.mean(np.abs(error))), _of_mean(np.abs(error), low=0.0))
    deviations = (exact - exact.mean()) ** 2
    variance = float(np.mean(deviations))
    if variance > 0:
        ratio = mean_square / variance
        width = Z * _standard_error((squares - ratio * deviations) / variance)
        found.add("r2", 1 - ratio, (1 - ratio - width, min(1.0, 1 - ratio + width)))
    return found


def _standard_error(values: Array) -> float:
    return float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def _of_mean(values: Array, low: float) -> Interval:
    middle, width = float(np.mean(values)), Z * _standard_error(values)
    return max(low, middle - width), middle + width
