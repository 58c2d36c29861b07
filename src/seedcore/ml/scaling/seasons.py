"""Finds the seasons of a series: frequencies whose power stands out of the spectrum around them."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CYCLES = 3
"""Whole cycles that a season must be seen for."""

CHANCE = 0.001
"""Chance that noise with a smooth spectrum has a frequency that is taken for one."""

MAX_FREQUENCIES = 16
_PASSES = 5
_PADDING = 4
_BLOCK = 12
DAY_S, WEEK_S = 86_400, 7 * 86_400
SNAP = 0.35
"""A frequency is that of the calendar when it is within this share of the spectrum's resolution."""


def find(values: Floats, step_s: float) -> Floats:
    """Frequencies in cycles a step, ascending; empty where there is no season.

    Args:
        values: shape (n,), of about constant variance.
        step_s: seconds of a step.
    """
    n = len(values)
    if n < 48 or not np.ptp(values) > 0:
        return np.zeros(0)
    x = np.arange(n) - (n - 1) / 2
    found: list[float] = []
    for _ in range(_PASSES):
        rest = _rest(values, x, found)
        new = [_snapped(f, n, step_s) for f in _peaks(rest, found)]
        new = [f for f in new if all(abs(f - other) * n > 0.8 for other in found)]
        if not new:
            break
        found += new
        if len(found) >= MAX_FREQUENCIES:
            break
    return np.sort(np.array(found[:MAX_FREQUENCIES]))


def periods(frequencies: Floats, step_s: float) -> list[float]:
    """The seasons that the frequencies make up, in seconds: each frequency is one of them or a multiple."""
    seasons: list[float] = []
    for f in np.sort(frequencies):
        multiple = [f / base for base in seasons]
        if not any(abs(m - round(m)) < 0.02 * max(1.0, m / 4) for m in multiple):
            seasons.append(float(f))
    day = step_s / DAY_S
    has_day = any(abs(f / day - round(f / day)) < 0.02 for f in frequencies)
    found = [step_s / f for f in seasons]
    if has_day and WEEK_S in [round(p) for p in found] and not any(abs(p - DAY_S) < 60 for p in found):
        found.append(float(DAY_S))
    return sorted(round(p, 3) for p in found)


def columns(frequencies: Floats, begin: int, end: int) -> Floats:
    """Cosines and sines of the frequencies at the steps from `begin` to before `end`, shape (steps, 2 frequencies)."""
    angle = 2 * np.pi * np.outer(np.arange(begin, end), frequencies)
    return np.hstack([np.cos(angle), np.sin(angle)])


def _rest(values: Floats, x: npt.NDArray[np.floating], found: list[float]) -> Floats:
    """What a line and the frequencies leave, with far values pulled in."""
    design = np.column_stack([np.ones(len(x)), x, columns(np.array(found), 0, len(x))])
    coefficients, *_ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ coefficients
    width = 4 * 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) or float(np.abs(rest).max())
    clipped: Floats = np.clip(rest, np.median(rest) - width, np.median(rest) + width)
    return clipped


def _peaks(rest: Floats, found: list[float]) -> list[float]:
    """The frequencies that stand out, the strongest first."""
    n = len(rest)
    tapered = (rest - rest.mean()) * np.hanning(n)
    size = _PADDING * n
    power = np.abs(np.fft.rfft(tapered, size)) ** 2
    places = np.arange(len(power))
    first = _PADDING * CYCLES
    if len(power) <= first + 2 * _BLOCK or not power[first:].max() > 0:
        return []
    level = _background(power, first)
    ratio = power / level
    for f in found:
        ratio[np.abs(places / size - f) * n < 1.5] = 0
    # The maximum of n / 2 exponential variables; neighbours of a padded spectrum add about as many again.
    limit = np.log(n / CHANCE)
    inner = places[first:-1]
    is_peak = (ratio[inner] > limit) & (power[inner] >= power[inner - 1]) & (power[inner] > power[inner + 1])
    peaks = inner[is_peak]
    chosen: list[float] = []
    for k in peaks[np.argsort(-power[peaks])][:MAX_FREQUENCIES]:
        # Leakage of a stronger one falls with the distance; the next pass sees what is left.
        if power[k] < 0.02 * power[peaks].max():
            break
        before, here, after = np.log(power[k - 1 : k + 2])
        bend = before - 2 * here + after
        f = (k + (0.5 * (before - after) / bend if bend < 0 else 0.0)) / size
        if all(abs(f - other) * n > 2.5 for other in chosen):
            chosen.append(float(f))
    return chosen


def _background(power: Floats, first: int) -> Floats:
    """The power around each frequency: medians of blocks, which widen with the frequency, joined by lines of logs."""
    edges = [max(1, first // 2)]
    while edges[-1] < len(power):
        edges.append(max(edges[-1] + _BLOCK * _PADDING // 2, int(edges[-1] * 1.6)))
    edges[-1] = len(power)
    if len(edges) > 2 and edges[-1] - edges[-2] < _BLOCK * _PADDING // 2:
        del edges[-2]
    middles = np.array([np.sqrt(a * b) for a, b in pairwise(edges)])
    # The median of an exponential variable is ln 2 of its mean.
    medians = np.array([np.median(power[a:b]) for a, b in pairwise(edges)]) / np.log(2)
    floor = float(medians.max()) * 1e-12 or 1e-300
    logs = np.log(np.maximum(medians, floor))
    level: Floats = np.exp(np.interp(np.log(np.maximum(np.arange(len(power)), 1)), np.log(middles), logs))
    return level


def _snapped(f: float, n: int, step_s: float) -> float:
    """The frequency of the calendar that it is as good as equal to, or itself."""
    for period, seen in ((DAY_S, 2), (WEEK_S, 2)):
        base = step_s / period
        multiple = round(f / base)
        if multiple >= 1 and n * base >= seen and abs(f - multiple * base) * n < SNAP:
            return multiple * base
    return f
