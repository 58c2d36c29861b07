"""Finds points of time at which several series together depart from what is expected: one calibrated score a point.

Each column is freed of its season and level as `detect` does it. What is left, in robust standard deviations of the
column, is measured by the Mahalanobis distance: far is what is large, or large against the other columns. Correlations
are those of normal scores of the ranks, which single far points hardly move. How far clean points go is the tail of the
distances themselves, fitted as for one series.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedcore.errors import InvalidInputError
from seedcore.ml.anomaly import pareto_tail, small_samples
from seedcore.ml.anomaly.detect import STEP, checked, residuals_of
from seedcore.ml.anomaly.local_level import Floats, spread

MAX_CORRELATION_SHARE = 0.02
"""Correlations are shrunk by at least this share, so that columns that are nearly equal do not divide by nothing."""

ROUNDS = 4000
"""Simulated sets of normal noise that short sets of series are compared with."""


@dataclass(frozen=True, slots=True)
class JointAnomaly:
    """A point of time: its distance, the chance that clean columns have a point as far out, and the columns' shares.

    Shares sum to 1. One below 0 is a column that makes the others' departure likelier.
    """

    index: int
    score: float
    chance: float
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class JointDetection:
    """Anomalous points of time, and how they were found.

    Attributes:
        method: `tail`: beyond a tail fitted to the other distances; `few`: beyond normal noise of so few points;
            `constant`: no column departs from what is expected.
        limit: the distance over which a point is an anomaly; None: there is no distance.
        seasons: points in a cycle of each column that has one.
        notes: what could not be judged.
    """

    anomalies: tuple[JointAnomaly, ...]
    method: Literal["tail", "few", "constant"]
    limit: float | None
    seasons: dict[str, int]
    notes: tuple[str, ...]


def detect_columns(columns: Mapping[str, npt.ArrayLike], false_alarm: float = 0.05) -> JointDetection:
    """The points of time at which the columns together depart from what is expected.

    Args:
        columns: at least two series of the same n values, evenly spaced in time.
        false_alarm: probability, in (0, 0.5], that clean columns have any.

    Raises:
        InvalidInputError: a column cannot be judged, lengths differ, or there are too few points for so many columns.
    """
    given = {name: checked(values, f"columns.{name}") for name, values in columns.items()}
    n = _common_length(given)
    away, near, names, seasons, notes = [], [], [], {}, []
    for name, column in given.items():
        values, _, baseline, residuals = residuals_of(column)
        scale = spread(residuals)
        if scale == 0:
            what = "is constant" if not residuals.any() else "is constant but for some points; ask for it as `data`"
            notes.append(f"column {name} {what}: it has no part in the score")
            continue
        names.append(name)
        away.append(residuals / scale)
        near.append((values - baseline.one_sided) / scale)
        if baseline.period is not None:
            seasons[name] = baseline.period
    if not names:
        return JointDetection((), "constant", None, {}, tuple(notes))
    inverse = np.linalg.inv(_correlation(np.array(away)))
    parts = _parts(np.array(away), inverse)
    distances = np.sqrt(np.maximum(parts.sum(axis=0), 0.0))
    method: Literal["tail", "few"] = "few" if n < small_samples.MANY else "tail"
    if method == "few":
        notes.append(f"fewer than {small_samples.MANY} points: one level, no season, and noise assumed to be normal")
        clean = _outermost(n, len(names))
        limit = float(np.quantile(clean, 1 - false_alarm))
        chance = (len(clean) - np.searchsorted(clean, distances) + 1.0) / (len(clean) + 1.0)
    else:
        tail = pareto_tail.fit(distances[distances > 0])
        limit, chance = tail.limit(false_alarm), tail.chance(distances)
    steps = np.sqrt(np.maximum(_parts(np.array(near), inverse).sum(axis=0), 0.0)) <= STEP * distances
    found = np.flatnonzero((distances > limit) & ~steps)
    anomalies = tuple(
        JointAnomaly(
            int(k),
            float(distances[k]),
            float(chance[k]),
            dict(zip(names, (parts[:, k] / distances[k] ** 2).tolist(), strict=True)),
        )
        for k in found
    )
    return JointDetection(anomalies, method, limit, seasons, tuple(notes))


def _common_length(given: Mapping[str, Floats]) -> int:
    first, n = next((name, len(values)) for name, values in given.items())
    for name, values in given.items():
        if len(values) != n:
            message = f"has {len(values)} values, and {first} has {n}: all columns need one value a point of time"
            raise InvalidInputError.for_field(f"columns.{name}", message)
    if n < 2 * len(given) + 4:
        message = f"{len(given)} columns need at least {2 * len(given) + 4} values each, not {n}"
        raise InvalidInputError.for_field("columns", message)
    return n


def _correlation(away: Floats) -> Floats:
    """Correlations of normal scores of the ranks, shrunk towards none; shape (..., columns, columns)."""
    n, d = away.shape[-1], away.shape[-2]
    scores = _normal_scores(n)[away.argsort(axis=-1).argsort(axis=-1)]
    found = scores @ np.swapaxes(scores, -1, -2) / (scores[..., :1, :] ** 2).sum(axis=-1, keepdims=True)
    kept = 1 - max(MAX_CORRELATION_SHARE, min(0.5, d / n))
    shrunk: Floats = kept * found + (1 - kept) * np.eye(d)
    return shrunk


def _parts(away: Floats, inverse: npt.NDArray[np.floating]) -> Floats:
    """What each column adds to the squared distance, shape (..., columns, n)."""
    parts: Floats = away * (inverse @ away)
    return parts


@lru_cache(maxsize=64)
def _normal_scores(n: int) -> Floats:
    normal = NormalDist()
    return np.array([normal.inv_cdf((k + 0.5) / n) for k in range(n)])


@lru_cache(maxsize=64)
def _outermost(n: int, columns: int) -> Floats:
    """Distance of the outermost of n points of so many columns of normal noise, sorted, shape (ROUNDS,)."""
    points = np.random.default_rng([n, columns]).standard_normal((ROUNDS, columns, n))
    away = points - np.median(points, axis=-1, keepdims=True)
    away /= 1.4826 * np.median(np.abs(away), axis=-1, keepdims=True)
    parts = _parts(away, np.linalg.inv(_correlation(away)))
    found: Floats = np.sort(np.sqrt(np.maximum(parts.sum(axis=-2), 0.0).max(axis=-1)))
    return found
