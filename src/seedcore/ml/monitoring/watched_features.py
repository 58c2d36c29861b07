"""Turns rows of features into observations that a valve can watch: finite numbers, as many in each.

| column | becomes |
|---|---|
| number, boolean | itself, within ten spreads of the reference's range; where it is missing, the reference's median |
| category | how rare it is (-log2 of its share in the reference), and 1 or 0 for each of its commonest values |
| missing values | for a column that had some in the reference, 1 or 0; for all others together, their number |

Features of more than MAX_DIRECT observed columns are projected on PROJECTED random directions, the same ones always.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seedcore.schemas.ml.models import Column

Rows = npt.NDArray[np.float64]
"""Shape (n, features): NaN where a value is missing, categories by their number."""

COMMONEST = 8
LEAST_SHARE = 0.02
MAX_DIRECT, PROJECTED = 200, 100


@dataclass(frozen=True, slots=True)
class _NumberColumn:
    at: int
    low: float
    high: float
    median: float

    def observe(self, values: Rows) -> Rows:
        return np.where(np.isnan(values), self.median, np.clip(values, self.low, self.high))[:, None]

    def to_json(self) -> dict[str, object]:
        return {"low": self.low, "high": self.high, "median": self.median}


@dataclass(frozen=True, slots=True)
class _CategoryColumn:
    at: int
    shares: npt.NDArray[np.float64]
    commonest: npt.NDArray[np.int64]
    rarest: float

    def observe(self, values: Rows) -> Rows:
        codes = np.where(np.isfinite(values), values, -1).astype(np.int64)
        known = (codes >= 0) & (codes < len(self.shares))
        shares = np.full(len(codes), self.rarest)
        shares[known] = np.maximum(self.shares[codes[known]], self.rarest)
        return np.column_stack([-np.log2(shares), codes[:, None] == self.commonest])

    def to_json(self) -> dict[str, object]:
        shares, commonest = self.shares.tolist(), self.commonest.tolist()
        return {"shares": shares, "commonest": commonest, "rarest": self.rarest}


@dataclass(frozen=True, slots=True)
class WatchedFeatures:
    """How a model's features are observed.

    Attributes:
        gaps: (features,) whether the reference had missing values there.
        projection: (observed columns, PROJECTED) random directions; None: there are few enough columns.
        centre, spread: of the observed columns before the projection.
    """

    columns: tuple[_NumberColumn | _CategoryColumn, ...]
    gaps: npt.NDArray[np.bool_]
    projection: npt.NDArray[np.float64] | None
    centre: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]

    @classmethod
    def learn(cls, reference: Rows, columns: Sequence[Column]) -> Self:
        """Learn from reference rows; without `columns` all features are numbers."""
        made: list[_NumberColumn | _CategoryColumn] = []
        for at in range(reference.shape[1]):
            is_category = at < len(columns) and columns[at].type == "category"
            make = _category if is_category else _number
            made.append(make(at, reference[:, at]))
        gaps = np.asarray(np.isnan(reference).any(axis=0))
        unit = cls(tuple(made), gaps, None, np.zeros(1), np.ones(1))
        observed = unit.observe(reference)
        if observed.shape[1] <= MAX_DIRECT:
            return unit
        centre, spread = observed.mean(axis=0), observed.std(axis=0)
        return cls(tuple(made), gaps, _directions(observed.shape[1]), centre, np.where(spread > 1e-12, spread, 1.0))

    def observe(self, rows: Rows) -> Rows:
        """Observations of rows, shape (n, d), all finite."""
        missing = np.isnan(rows)
        parts = [column.observe(rows[:, column.at]) for column in self.columns]
        parts.append(missing[:, self.gaps].astype(np.float64))
        parts.append(missing[:, ~self.gaps].sum(axis=1, keepdims=True).astype(np.float64))
        observed: Rows = np.concatenate(parts, axis=1)
        if self.projection is None:
            return observed
        scaled = np.clip((observed - self.centre) / self.spread, -10.0, 10.0)
        projected: Rows = scaled @ self.projection
        return projected

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        return {
            "columns": [column.to_json() for column in self.columns],
            "gaps": np.flatnonzero(self.gaps).tolist(),
            "projected": self.projection is not None,
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        columns = tuple(_restored(at, column) for at, column in enumerate(stored["columns"]))
        gaps = np.zeros(len(columns), dtype=np.bool_)
        gaps[stored["gaps"]] = True
        centre, spread = np.array(stored["centre"]), np.array(stored["spread"])
        return cls(columns, gaps, _directions(len(centre)) if stored["projected"] else None, centre, spread)


def _directions(columns: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((columns, PROJECTED))


def _restored(at: int, stored: Mapping[str, Any]) -> _NumberColumn | _CategoryColumn:
    if "median" in stored:
        return _NumberColumn(at, stored["low"], stored["high"], stored["median"])
    commonest = np.array(stored["commonest"], dtype=np.int64)
    return _CategoryColumn(at, np.array(stored["shares"], dtype=np.float64), commonest, stored["rarest"])


def _number(at: int, values: Rows) -> _NumberColumn:
    known = values[np.isfinite(values)]
    if not len(known):
        return _NumberColumn(at, -1e6, 1e6, 0.0)
    margin = 10.0 * max(float(known.std()), 1e-9 * float(np.abs(known).max()), 1e-9)
    return _NumberColumn(at, float(known.min()) - margin, float(known.max()) + margin, float(np.median(known)))


def _category(at: int, values: Rows) -> _CategoryColumn:
    codes = values[np.isfinite(values)].astype(np.int64)
    counts = np.bincount(codes[codes >= 0]) if len(codes) else np.zeros(0, dtype=np.int64)
    shares = counts / max(len(values), 1)
    order = np.argsort(-shares, kind="stable")[:COMMONEST]
    return _CategoryColumn(at, shares, order[shares[order] >= LEAST_SHARE], 0.5 / max(len(values), 1))
