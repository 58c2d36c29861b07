"""Finds the season of a series from its autocorrelation; keeps it only if it predicts."""

from dataclasses import dataclass

import numpy as np

from seedcore.ml.anomaly.local_level import Floats, local_level, neighbour_error, spread

CYCLES = 4
"""Whole cycles that a season must be seen for."""

NEIGHBOURS = 8
"""Neighbouring cycles whose median is the season of a cycle."""

GAIN = 0.9
"""A season is taken when the error without it falls to this share at least."""

SHORTER = 0.9
"""A longer period is taken when the error falls to this share of a shorter one's."""

CANDIDATES = 6
_CLIP = 3.0


@dataclass(frozen=True, slots=True)
class Season:
    """`values`, shape (n,), repeat every `period` points, but for slow changes."""

    period: int
    values: Floats


def find(values: Floats) -> Season | None:
    """The season that predicts points from other cycles best, or None where none predicts well."""
    if len(values) < 2 * CYCLES:
        return None
    clipped = _clipped(values)
    best: tuple[float, Season] | None = None
    for period in sorted(_periods(clipped)):
        error, season = _season_of(values, clipped, period)
        # A multiple of the period predicts as well, and has seen fewer cycles.
        if best is None or error < SHORTER * best[0]:
            best = error, season
    if best is None:
        return None
    period, longest = best[1].period, len(values) // CYCLES
    # Noise moves a peak of the correlation by a point.
    neighbours = [_season_of(values, clipped, p) for p in (period - 1, period + 1) if 2 <= p <= longest]
    _, season = min([best, *neighbours], key=lambda fit: fit[0])
    return season if local_level(values - season.values).error < GAIN * local_level(values).error else None


def _season_of(values: Floats, clipped: Floats, period: int) -> tuple[float, Season]:
    """(error that remains, season) for this period."""
    season = Season(period, _from_other_cycles(clipped - _mean_of_cycle(clipped, period), period))
    return neighbour_error(values - season.values), season


def _clipped(values: Floats) -> Floats:
    """The series with far values pulled in around its trend, so that one spike does not dominate the correlation."""
    third = max(len(values) // 3, 1)
    slope = (np.median(values[-third:]) - np.median(values[:third])) / max(len(values) - third, 1)
    line = slope * np.arange(len(values))
    residuals = values - line
    middle = float(np.median(residuals))
    width = _CLIP * (spread(residuals - middle) or float(np.abs(residuals - middle).max()))
    return line + np.clip(residuals, middle - width, middle + width)


def _periods(values: Floats) -> set[int]:
    """Lags where the autocorrelation of the series, or of its steps, has its highest peaks."""
    longest = len(values) // CYCLES
    x = np.arange(len(values)) - (len(values) - 1) / 2
    flat = values - values.mean()
    flat = flat - x * (flat @ x) / (x @ x)
    found: set[int] = set()
    for series in (flat, np.diff(values)):
        correlation = _autocorrelation(series, longest + 1)
        lags = np.arange(2, longest + 1)
        peaks = lags[(correlation[lags] >= correlation[lags - 1]) & (correlation[lags] > correlation[lags + 1])]
        peaks = peaks[correlation[peaks] > 0.1]
        found.update(peaks[np.argsort(-correlation[peaks])][:CANDIDATES].tolist())
    return found


def _autocorrelation(series: Floats, max_lag: int) -> Floats:
    centred = series - series.mean()
    size = 1 << (2 * len(series) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    raw = np.fft.irfft(power, size)[: max_lag + 1]
    return raw / raw[0] if raw[0] > 0 else np.zeros(max_lag + 1)


def _mean_of_cycle(values: Floats, period: int) -> Floats:
    """The mean over one whole cycle around each point; the first and the last one at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means = (sums[period:] - sums[:-period]) / period
    place = np.clip(np.arange(len(values)) - period // 2, 0, len(means) - 1)
    mean: Floats = means[place]
    return mean


def _from_other_cycles(values: Floats, period: int) -> Floats:
    """At each point the median of the same phase in the nearest other cycles."""
    n = len(values)
    phase, cycle = np.arange(n) % period, np.arange(n) // period
    cycles = (n - 1 - phase) // period + 1
    seen = min(NEIGHBOURS + 1, n // period)
    first = np.clip(cycle - seen // 2, 0, cycles - seen)
    others = first[:, None] + np.arange(seen - 1)
    others += others >= cycle[:, None]
    median: Floats = np.median(values[others * period + phase[:, None]], axis=1)
    return median
