"""Prediction intervals from the errors of forecasts that were made before: adaptive conformal inference.

The interval of a forecast is made of quantiles of the errors that were known when it was made. Whether the actual count
lay in it then moves the level of the next one (Gibbs and Candès 2021), so that coverage holds when errors change. The
share of past intervals that held is what they really covered: it is returned.

Errors are on the scale on which forecasts are made, where the variance of counts is about constant; bounds are counts.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WINDOW = 250
"""Errors that an interval is made of at most: the newest."""

FIRST = 20
"""Errors before the first interval."""

RATE = 0.01
"""How far one interval that failed or held moves the level."""

_LARGEST = 40.0


Scale = Literal["root", "log"]
"""`root`: of counts whose variance is their mean (Anscombe 1948). `log`: of those whose deviation is their mean, and
whose seasons grow with their level."""


def to_scale(counts: Floats, scale: Scale) -> Floats:
    """Counts on the scale of forecasts."""
    scaled: Floats = 2.0 * np.sqrt(counts + 0.375) if scale == "root" else np.log1p(counts)
    return scaled


def to_counts(scaled: Floats, scale: Scale) -> Floats:
    """The inverse of `to_scale`; what is below 0 tasks is 0."""
    if scale == "root":
        counts: Floats = np.maximum((np.maximum(scaled, 0.0) / 2.0) ** 2 - 0.375, 0.0)
    else:
        counts = np.expm1(np.clip(scaled, 0.0, _LARGEST))
    return counts


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """What the errors at one distance ahead say.

    Attributes:
        scale: that errors are on.
        errors: the newest ones, ascending.
        miss: chance to miss that the next interval is made for.
        held, tried: past intervals that held the actual count, and all.
        score: mean interval score of the past intervals, in counts (Gneiting and Raftery 2007); less is better.
    """

    scale: Scale
    errors: list[float]
    miss: float
    held: int
    tried: int
    score: float

    def bounds(self, center: float) -> tuple[float, float]:
        """The lowest and highest count of the interval around a forecast."""
        return bounds(self.errors, center, self.miss, self.scale)


def calibrate(centers: Sequence[float], actual: Sequence[float], delay: int, level: float, scale: Scale) -> ErrorRecord:
    """Make the intervals of past forecasts with what was known then, and judge them.

    Args:
        centers: forecasts on the scale, oldest first.
        actual: the counts that came.
        delay: so many forecasts later an actual count was known, at least 1.
        level: share of actual counts that intervals shall hold.
        scale: of the forecasts.
    """
    target = 1.0 - level
    scaled = to_scale(np.asarray(actual, dtype=np.float64), scale).tolist()
    errors = [s - c for s, c in zip(scaled, centers, strict=True)]
    known: list[float] = []
    missed: list[bool | None] = []
    miss, held, tried, cost = target, 0, 0, 0.0
    for i, center in enumerate(centers):
        last = i - delay
        if last >= 0:
            bisect.insort(known, errors[last])
            if last >= WINDOW:
                known.pop(bisect.bisect_left(known, errors[last - WINDOW]))
            failed = missed[last]
            if failed is not None:
                miss = min(max(miss + RATE * (target - failed), target / 8), 3 * target, 0.9)
        if len(known) < FIRST:
            missed.append(None)
            continue
        low, high = bounds(known, center, miss, scale)
        beyond = max(low - actual[i], actual[i] - high, 0.0)
        missed.append(beyond > 0)
        held, tried, cost = held + (beyond == 0), tried + 1, cost + high - low + 2.0 / target * beyond
    return ErrorRecord(scale, sorted(errors[-WINDOW:]), miss, held, tried, cost / tried if tried else float("inf"))


def bounds(errors: list[float], center: float, miss: float, scale: Scale) -> tuple[float, float]:
    """The lowest and highest count of an interval that misses with chance `miss`, half of it on each side.

    Where the lower half is no count at all, the interval begins at 0, and the whole chance is on the upper side.
    """
    low = _count(center + _quantile(errors, miss / 2), scale)
    if low < 0.5:
        return 0.0, _count(center + _quantile(errors, 1 - miss), scale)
    return low, _count(center + _quantile(errors, 1 - miss / 2), scale)


def _count(scaled: float, scale: Scale) -> float:
    if scaled <= 0:
        return 0.0
    return max((scaled / 2.0) ** 2 - 0.375, 0.0) if scale == "root" else expm1(min(scaled, _LARGEST))


def _quantile(errors: list[float], share: float) -> float:
    """What a further error is below with that chance; beyond the outermost error by a part of the range."""
    n = len(errors)
    place = share * (n + 1) - 1
    if place < 0:
        return errors[0] - (errors[-1] - errors[0]) * 0.25 * min(1.0, -place)
    if place > n - 1:
        return errors[-1] + (errors[-1] - errors[0]) * 0.25 * min(1.0, place - n + 1)
    below = int(place)
    above = min(below + 1, n - 1)
    return errors[below] + (place - below) * (errors[above] - errors[below])
