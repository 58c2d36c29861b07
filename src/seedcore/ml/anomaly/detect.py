"""Finds anomalies: removes season and level from a series, then judges how far clean residuals go."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedcore.errors import InvalidInputError
from seedcore.ml.anomaly import pareto_tail, season, small_samples
from seedcore.ml.anomaly.local_level import Floats, local_level, spread
from seedcore.schemas.ml.anomaly import MAX_LENGTH, MIN_LENGTH

LARGEST = 1e100
"""Larger values would overflow when they are squared."""

MIN_SIDE = 5
"""Residuals that one side needs to be judged on its own."""

RARE = 0.01
"""Where most points are exactly as expected, departures are anomalies when at most this share departs."""

STEP = 0.5
"""A point is the edge of a new level when the points to one side are nearer to it than this share of its distance."""

_ROUNDING = 64 * float(np.finfo(np.float64).eps)

Method = Literal["tail", "few", "departures", "constant"]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One point: its value, what was expected, and their distance in units of `Detection.scale` (never negative).

    `chance`: probability that a clean series has a point as far out on this side; None: the method knows none.
    """

    index: int
    value: float
    expected: float
    score: float
    direction: Literal["above", "below"]
    chance: float | None


@dataclass(frozen=True, slots=True)
class Detection:
    """The anomalies of a series, and the method that found them.

    Attributes:
        method: `tail`: beyond a tail fitted to the other residuals; `few`: beyond normal noise of so few points;
            `departures`: most points are exactly as expected, and few depart; `constant`: all points are as expected.
        scale: a score of 1, in the series' units.
        above, below: scores over which a point is an anomaly; None: the method has no such limit.
        season: points in a cycle; None: none was found.
        half: points on each side that a point is compared with.
        notes: what could not be judged.
    """

    anomalies: tuple[Anomaly, ...]
    method: Method
    scale: float
    above: float | None
    below: float | None
    season: int | None
    half: int
    notes: tuple[str, ...]


def detect(data: npt.ArrayLike, false_alarm: float = 0.05) -> Detection:
    """The point anomalies of a series.

    Args:
        data: shape (n,), evenly spaced in time; n from MIN_LENGTH to MAX_LENGTH.
        false_alarm: probability, in (0, 0.5], that a clean series has any.

    Raises:
        InvalidInputError: too short, too long, not finite, or beyond LARGEST.
    """
    given = checked(data)
    if not 0 < false_alarm <= 0.5:
        raise InvalidInputError(f"false_alarm must be over 0 and at most 0.5, not {false_alarm:g}.")
    values, unit, baseline, residuals = residuals_of(given)
    verdict = _judge(residuals, false_alarm, _grain(values))
    # At the edge of a level step, one side expects the value.
    outliers = verdict.outliers & (np.abs(values - baseline.one_sided) > STEP * np.abs(residuals))
    anomalies = tuple(
        Anomaly(
            int(n),
            float(given[n]),
            float(given[n] - residuals[n] * unit),
            float(abs(residuals[n]) / verdict.scale),
            "above" if residuals[n] > 0 else "below",
            None if verdict.chance is None else float(verdict.chance[n]),
        )
        for n in np.flatnonzero(outliers)
    )
    scale, notes = float(verdict.scale * unit), (*baseline.notes, *verdict.notes)
    return Detection(
        anomalies, verdict.method, scale, verdict.above, verdict.below, baseline.period, baseline.half, notes
    )


def residuals_of(given: Floats) -> "tuple[Floats, float, Baseline, Floats]":
    """(values, their unit, what is expected, what departs from it), all but the unit in that unit."""
    # Scaling by a power of two is exact.
    unit = float(2.0 ** np.frexp(np.abs(given).max() or 1.0)[1])
    values = (given - np.median(given)) / unit
    baseline = _one_level(values) if len(values) < small_samples.MANY else _local_baseline(values)
    residuals = values - baseline.expected
    residuals[np.abs(residuals) <= _ROUNDING * float(np.abs(given).max()) / unit] = 0.0
    return values, unit, baseline, residuals


@dataclass(frozen=True, slots=True)
class Baseline:
    """What both sides expect at each point, and what the nearer side alone expects."""

    expected: Floats
    one_sided: Floats
    half: int
    period: int | None
    notes: tuple[str, ...]


def _local_baseline(values: Floats) -> Baseline:
    cycle = season.find(values)
    seasonal = np.zeros(len(values)) if cycle is None else cycle.values
    level = local_level(values - seasonal)
    notes = [f"a run of more than {level.half // 2} such points counts as a new level"]
    if cycle is None:
        notes.append(f"a season of more than {len(values) // season.CYCLES} points cannot be seen")
    period = None if cycle is None else cycle.period
    return Baseline(level.expected + seasonal, level.one_sided + seasonal, level.half, period, tuple(notes))


def _one_level(values: Floats) -> Baseline:
    level = np.full(len(values), np.median(values))
    note = f"fewer than {small_samples.MANY} points: one level, no trend, no season, and noise assumed to be normal"
    return Baseline(level, level, len(values) - 1, None, (note,))


@dataclass(frozen=True, slots=True)
class _Verdict:
    outliers: npt.NDArray[np.bool_]
    method: Method
    scale: float
    above: float | None
    below: float | None
    chance: Floats | None = None
    notes: tuple[str, ...] = ()


def _judge(residuals: Floats, false_alarm: float, grain: float) -> _Verdict:
    none = np.zeros(len(residuals), dtype=bool)
    away = np.abs(residuals[residuals != 0])
    if not len(away):
        return _Verdict(none, "constant", 1.0, None, None)
    if len(away) <= max(1, RARE * len(residuals)):
        return _Verdict(residuals != 0, "departures", float(np.median(away)), None, None)
    scale = spread(residuals) or spread(away)
    if len(away) < MIN_SIDE:
        note = f"{len(away)} points depart from an otherwise constant series: too few to tell which are anomalies"
        return _Verdict(none, "departures", scale, None, None, notes=(note,))
    if len(residuals) < small_samples.MANY:
        scores = np.abs(residuals) / scale
        limit = small_samples.limit(len(residuals), false_alarm)
        chance = small_samples.chance(len(residuals), scores)
        return _Verdict(scores > limit, "few", scale, limit, limit, chance)
    limits, chance = [], np.ones(len(residuals))
    for sign in (1.0, -1.0):
        signed = sign * residuals
        on_side = signed > 0
        tail = pareto_tail.fit(signed[on_side] if on_side.sum() >= MIN_SIDE else away, grain)
        limits.append(tail.limit(false_alarm / 2))
        chance[on_side] = tail.chance(signed[on_side])
    above, below = limits
    outliers = (residuals > above) | (residuals < -below)
    return _Verdict(outliers, "tail", scale, above / scale, below / scale, chance)


def _grain(values: Floats) -> float:
    """The usual step between values where most values occur several times, else 0."""
    points = np.unique(values)
    return float(np.median(np.diff(points))) if 1 < len(points) <= len(values) // 2 else 0.0


def checked(data: npt.ArrayLike, name: str = "data") -> Floats:
    """The values as an array.

    Raises:
        InvalidInputError: they are no series that can be judged; it names the field `name`.
    """
    try:
        values = np.asarray(data, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidInputError.for_field(name, f"must be numbers: {error}") from error
    if values.ndim != 1:
        raise InvalidInputError.for_field(name, "must be one list of numbers")
    if not MIN_LENGTH <= len(values) <= MAX_LENGTH:
        message = f"has {len(values)} values; from {MIN_LENGTH} to {MAX_LENGTH} are needed"
        raise InvalidInputError.for_field(name, message)
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InvalidInputError.for_field(name, f"{name}[{place}] is not finite")
    if np.abs(values).max() > LARGEST:
        raise InvalidInputError.for_field(name, f"must be within ±{LARGEST:g}")
    return values
