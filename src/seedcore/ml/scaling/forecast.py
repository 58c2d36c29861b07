"""Forecasts counts of arriving tasks, with intervals whose coverage is measured. Pure."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedcore.ml.scaling import intervals, level_filter, seasons

Floats = npt.NDArray[np.float64]
Source = Literal["seasonal", "level", "too_little_history"]

MIN_STEPS = 64
"""Steps of history from which errors of forecasts can be measured."""

MAX_STEPS = 10_000
"""Steps of history that count: the newest."""

ORIGINS = 320
"""Moments of the past from which forecasts are made to measure their errors."""

ANCHORS = 8
"""Distances ahead at which errors are measured; between them, intervals are interpolated."""

MIN_ERRORS = 40
"""Errors that a distance needs for an interval of its own."""

_FAR = 4.0
_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """Tasks expected in each of the next steps.

    Attributes:
        mean, low, high: shape (steps,), tasks in a step; the interval is for one step, not for all together.
        source: `seasonal`: level, trend and seasons; `level`: level and trend; `too_little_history`: no more than the
            mean of what came, with an interval for counts that vary much.
        seasons_s: the seasons in use, in seconds.
        coverage: share of past intervals that held the actual count; None: none could be tried.
        tried: how many those were.
        steps: steps of history that were used.
        calibrated: steps ahead up to which errors were measured; beyond, intervals are widened by a rule.
    """

    mean: Floats
    low: Floats
    high: Floats
    source: Source
    seasons_s: tuple[float, ...]
    coverage: float | None
    tried: int
    steps: int
    calibrated: int


def forecast(counts: npt.ArrayLike, steps: int, level: float, step_s: float) -> Forecast:
    """Forecast the next `steps` counts.

    Args:
        counts: shape (n,), n at least 1: tasks in each step, oldest first, without a gap.
        steps: how far ahead, at least 1.
        level: share of counts that intervals shall hold, in (0, 1).
        step_s: seconds of a step, to find the seasons of the calendar.
    """
    given = np.asarray(counts, dtype=np.float64)[-MAX_STEPS:]
    if len(given) < MIN_STEPS or not given.any():
        return _from_few(given, steps, level)
    models = [_Model.of(given, steps, level, step_s, scale) for scale in _SCALES]
    return min(models, key=lambda model: model.score).ahead(steps)


_SCALES: tuple[intervals.Scale, ...] = ("root", "log")


@dataclass(frozen=True, slots=True)
class _Model:
    """Forecasts on one scale, and the intervals of past ones.

    Attributes:
        given: the history.
        last: what is known at its end.
        columns: of the seasons, for history and forecast.
        seasonal: whether the seasons are used.
        gains: which gains are used.
        anchors, calibrations: distances ahead, and the intervals at each.
        seasons_s: the seasons found, in seconds.
    """

    given: Floats
    scale: intervals.Scale
    last: level_filter.Origins
    columns: Floats
    seasonal: bool
    gains: int
    anchors: list[int]
    calibrations: list[intervals.ErrorRecord]
    seasons_s: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean interval score of past intervals."""
        return float(np.mean([calibration.score for calibration in self.calibrations]))

    @classmethod
    def of(cls, given: Floats, steps: int, level: float, step_s: float, scale: intervals.Scale) -> "_Model":
        values, n = intervals.to_scale(given, scale), len(given)
        frequencies = seasons.find(values, step_s)
        longest = float(1 / frequencies.min()) if len(frequencies) else 0.0
        columns = seasons.columns(frequencies, 0, n + steps)
        first = int(max(n // 4, min(2 * longest, n // 2), 16))
        origins = np.unique(np.linspace(first, n, min(ORIGINS, n - first + 1)).round().astype(np.int64))
        filtered = level_filter.run(_cleaned(values, columns[:n]), columns[:n], origins, memory=n / 2)
        anchors = _anchors(steps, origins, n)
        seasonal, gains = _best(_errors(filtered, columns, values, anchors))
        calibrations = []
        for ahead in anchors:
            inside = origins + ahead <= n
            target = np.minimum(origins + ahead, n) - 1
            centers = filtered.forecasts(ahead, columns[target], seasonal)[inside, gains]
            delay = int((np.searchsorted(origins, origins + ahead) - np.arange(len(origins)))[inside].max(initial=1))
            actual = given[target[inside]]
            calibrations.append(intervals.calibrate(centers.tolist(), actual.tolist(), delay, level, scale))
        found = tuple(seasons.periods(frequencies, step_s))
        return cls(given, scale, filtered.end(), columns, seasonal, gains, anchors, calibrations, found)

    def ahead(self, steps: int) -> Forecast:
        """The forecast of the next steps."""
        n, anchors = len(self.given), self.anchors
        mean, low, high = np.empty(steps), np.empty(steps), np.empty(steps)
        for k in range(1, steps + 1):
            center = float(self.last.forecasts(k, self.columns[n + k - 1 : n + k], self.seasonal)[0, self.gains])
            near, far, share = _between(anchors, k)
            # Errors grow like the square root of the distance at most, as those of a random walk do.
            grown = max(1.0, k / anchors[-1]) ** 0.5
            ends = np.array([_grown(self.calibrations[a], center, grown) for a in (near, far)])
            low[k - 1], high[k - 1] = ends[0] + share * (ends[1] - ends[0])
            errors = np.array(self.calibrations[near].errors)
            mean[k - 1] = intervals.to_counts(center + errors, self.scale).mean()
        held, tried = sum(c.held for c in self.calibrations), sum(c.tried for c in self.calibrations)
        source: Source = "seasonal" if self.seasonal else "level"
        coverage = held / tried if tried else None
        seasons_s = self.seasons_s if self.seasonal else ()
        return Forecast(mean, low, high, source, seasons_s, coverage, tried, n, anchors[-1])


def _errors(filtered: level_filter.Origins, columns: Floats, values: Floats, anchors: list[int]) -> Floats:
    """Absolute errors on the scale, means over the anchors: shape (2, origins, gains), without and with seasons."""
    n, rows = len(values), []
    for seasonal in (False, True):
        total, seen = np.zeros((len(filtered.at), len(level_filter.ALPHA))), np.zeros(len(filtered.at))
        for ahead in anchors:
            target = np.minimum(filtered.at + ahead - 1, n - 1)
            inside = filtered.at + ahead <= n
            guess = filtered.forecasts(ahead, columns[target], seasonal)
            total += np.where(inside[:, None], np.abs(values[target][:, None] - guess), 0.0)
            seen += inside
        rows.append((total / np.maximum(seen, 1)[:, None])[seen > 0])
    return np.array(rows)


def _best(errors: Floats) -> tuple[bool, int]:
    """Whether seasons foresee better than level and trend alone, by two standard errors; and the best gains."""
    means = errors.mean(axis=1)
    plain, seasonal = int(means[0].argmin()), int(means[1].argmin())
    gain = errors[0][:, plain] - errors[1][:, seasonal]
    better = float(gain.mean()) > max(2 * float(gain.std()) / len(gain) ** 0.5, 0.01 * means[0, plain])
    return (True, seasonal) if better else (False, plain)


def _grown(calibration: intervals.ErrorRecord, center: float, grown: float) -> tuple[float, float]:
    """The interval around a forecast, so many times as wide on the scale."""
    low, high = calibration.bounds(center)
    if grown == 1.0:
        return low, high
    scaled = intervals.to_scale(np.array([low, high]), calibration.scale)
    wider = intervals.to_counts(center + grown * (scaled - center), calibration.scale)
    return (0.0 if low == 0 else float(wider[0])), float(wider[1])


def _anchors(steps: int, origins: npt.NDArray[np.int64], n: int) -> list[int]:
    """Distances ahead at which errors are measured: those that enough origins have."""
    wanted = np.unique(np.geomspace(1, steps, ANCHORS).round().astype(int))
    return [int(a) for a in wanted if a == 1 or int((origins + a <= n).sum()) >= MIN_ERRORS]


def _between(anchors: list[int], ahead: int) -> tuple[int, int, float]:
    """The anchors on both sides, and how far from the first to the second the distance lies."""
    far = min(int(np.searchsorted(anchors, ahead)), len(anchors) - 1)
    near = max(far - 1, 0) if anchors[far] > ahead else far
    width = anchors[far] - anchors[near]
    return near, far, (ahead - anchors[near]) / width if width else 0.0


def _cleaned(values: Floats, columns: Floats) -> Floats:
    """The series with what a first filter did not foresee at all pulled in: single bursts do not move the level."""
    n = len(values)
    whole = level_filter.run(values, columns, np.array([n]), memory=n)
    rest = values - columns @ whole.season[0, level_filter.MIDDLE]
    surprise = rest - _trailing(rest, float(level_filter.ALPHA[level_filter.MIDDLE, 0]))
    width = _FAR * 1.4826 * float(np.median(np.abs(surprise)))
    return values if width == 0 else values - (surprise - np.clip(surprise, -width, width))


def _trailing(values: Floats, alpha: float) -> Floats:
    """What exponential smoothing expects of each value."""
    expected, level = np.empty(len(values)), float(values[0])
    for t, value in enumerate(values.tolist()):
        expected[t] = level
        level += max(alpha, 1.0 / (t + 1)) * (value - level)
    return expected


def _from_few(given: Floats, steps: int, level: float) -> Forecast:
    """The predictive distribution of counts whose rate is known from few steps: gamma, with the variance seen or more.

    Nothing says that the rate stays, so the variance counts the more, the fewer steps there are.
    """
    n = len(given)
    mean = (float(given.sum()) + 0.5) / n
    seen = float(given.var(ddof=1)) / mean if n > 1 and mean > 0 else 1.0
    spread = max(1.0, seen) * (1.0 + 16.0 / n)
    rng = np.random.default_rng(n)
    # The rate of one step: uncertain by the steps seen, and moving by the dispersion seen.
    shape = mean / spread
    draws = rng.poisson(rng.gamma(shape, spread, _DRAWS) * rng.gamma(n, 1.0 / n, _DRAWS)).astype(np.float64)
    low, high = np.quantile(draws, [(1 - level) / 2, 1 - (1 - level) / 2])
    # Where hardly anything came, most counts are 0, and what is not known is the rate.
    high = max(high, float(np.quantile(rng.gamma(float(given.sum()) + 0.5, 1.0 / n, _DRAWS), 1 - (1 - level) / 2)))
    flat = np.ones(steps)
    return Forecast(
        flat * float(given.mean()), flat * float(low), flat * float(high), "too_little_history", (), None, 0, n, 0
    )
