"""Whitens a series: a transform in space (over columns), and autoregressions in time."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CLIP = 4.0
"""No single value counts for more than this many standard deviations: one outlier is not a change."""

MAX_LAGS = 8
_MIN_EIGENVALUE = 0.02


@dataclass(slots=True)
class Space:
    """Centres, scales and decorrelates d columns; the columns keep their meaning (symmetric square root).

    Attributes:
        mean, scale: shape (d,).
        matrix: shape (d, d).
    """

    mean: Floats
    scale: Floats
    matrix: Floats

    @classmethod
    def fit(cls, rows: Floats) -> Self:
        """Fit to `rows`, shape (n, d); the correlations are shrunk by Ledoit and Wolf (2004)."""
        n, d = rows.shape
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        constant = spread <= 1e-9 * (1.0 + np.abs(mean))
        # A constant column has no spread: any other value is clipped.
        scale = np.where(constant, 1e-9 * (1.0 + np.abs(mean)), spread)
        z = np.clip((rows - mean) / scale, -CLIP, CLIP)
        z[:, constant] = 0.0
        correlation = z.T @ z / n
        correlation[constant, constant] = 1.0
        level = np.trace(correlation) / d
        distance = float(((correlation - level * np.eye(d)) ** 2).sum())
        noise = float((((z**2).sum(axis=1) ** 2).sum() / n - (correlation**2).sum()) / n)
        share = min(max(noise / distance, 0.0), 1.0) if distance > 0 else 0.0
        values, vectors = np.linalg.eigh(share * level * np.eye(d) + (1.0 - share) * correlation)
        matrix = (vectors / np.sqrt(np.maximum(values, _MIN_EIGENVALUE))) @ vectors.T
        return cls(mean, scale, matrix)

    def apply(self, rows: Floats) -> Floats:
        """Whitened rows, shape (m, d)."""
        z = rows - self.mean
        z /= self.scale
        whitened: Floats = _clip(z) @ self.matrix
        return _clip(whitened)


def _clip(z: Floats) -> Floats:
    np.maximum(z, -CLIP, out=z)
    np.minimum(z, CLIP, out=z)
    return z


@dataclass(slots=True)
class AutoRegression:
    """Predicts the next row from the last p rows, each column by itself.

    Attributes:
        coefficients: shape (p, d), the newest row's first.
        tail: shape (p, d), the last rows seen, the oldest first.
    """

    coefficients: Floats
    tail: Floats

    @classmethod
    def fit(cls, rows: Floats) -> Self:
        """Yule-Walker by Levinson's recursion; the order, 0 to MAX_LAGS, by Akaike's criterion over all columns."""
        n, d = rows.shape
        centred = rows - rows.mean(axis=0)
        covariance = np.stack([(centred[lag:] * centred[: n - lag]).sum(axis=0) / n for lag in range(MAX_LAGS + 1)])
        varies = covariance[0] > 1e-12 * (1.0 + (rows**2).mean(axis=0))
        covariance = np.where(varies, covariance, np.eye(MAX_LAGS + 1, 1))
        error = covariance[0].copy()
        fitted = np.zeros((0, d))
        best, least = fitted, n * float(np.log(error).sum())
        for order in range(1, MAX_LAGS + 1):
            reflection = (covariance[order] - (fitted * covariance[order - 1 : 0 : -1]).sum(axis=0)) / error
            fitted = np.concatenate([fitted - reflection * fitted[::-1], reflection[None]])
            error = np.maximum(error * (1.0 - reflection**2), 1e-12)
            criterion = n * float(np.log(error).sum()) + 2.0 * order * d
            if criterion < least:
                best, least = fitted, criterion
        return cls(best, rows[len(rows) - len(best) :].copy())

    def residuals(self, rows: Floats) -> Floats:
        """The prediction errors, shape (m, d); continues from `tail`."""
        p, m = len(self.coefficients), len(rows)
        if p == 0:
            return rows
        series = np.concatenate([self.tail, rows])
        left: Floats = rows - self.coefficients[0] * series[p - 1 : p - 1 + m]
        for lag in range(2, p + 1):
            left -= self.coefficients[lag - 1] * series[p - lag : p - lag + m]
        self.tail = series[m:]
        return left
