"""From a series to its anomalies: season, level, what is left of it, and how far clean rests go."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedcore.errors import InvalidInputError
from seedcore.ml.anomaly import pareto_tail, season, small_samples
from seedcore.ml.anomaly.local_level import Floats, around, spread

MIN_LENGTH, MAX_LENGTH = small_samples.FEWEST, 20_000
LARGEST = 1e100
"""Values beyond would leave no room for their squares."""

LEAST_SIDE = 5
"""Rests that one side must have to be judged by itself."""

RARE = 0.01
"""Where most points are exactly as expected, departures are anomalies when at most this share departs."""

STEP = 0.5
"""A point is the edge of a new level when the points to one side are nearer to it than this share of its distance."""

_ROUNDING = 64 * float(np.finfo(np.float64).eps)

Method = Literal["tail", "few", "departures", "constant"]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One point: what it is, what was expected, and the distance in units of `Found.scale` (positive on both sides).

    `chance`: probability that a clean series has a point as far out on this side; None: the method knows none.
    """

    index: int
    value: float
    expected: float
    score: float
    direction: Literal["above", "below"]
    chance: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a series, and by what.

    Attributes:
        method: `tail`: beyond what a tail fitted to the rest passes; `few`: beyond what normal noise of so few points
            passes; `departures`: most points are exactly as expected,
            and few depart; `constant`: all are.
        scale: what a score of 1 is in the series' units.
        above, below: scores over which a point is an anomaly; None: this method has no such limit.
        season: points in a cycle; None: none was found.
        half: points to each side that a point is held against.
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


def detect(data: npt.ArrayLike, false_alarm: float = 0.05) -> Found:
    """The point anomalies of a series.

    Args:
        data: shape (n,), evenly spaced in time; n from MIN_LENGTH to MAX_LENGTH.
        false_alarm: probability, in (0, 0.5], that a clean series has any.

    Raises:
        InvalidInputError: too short, too long, not finite, or beyond LARGEST.
    """
    given = _checked(data)
    if not 0 < false_alarm <= 0.5:
        raise InvalidInputError(f"false_alarm must be over 0 and at most 0.5, not {false_alarm:g}.")
    # Powers of two change no digit.
    unit = 2.0 ** np.frexp(np.abs(given).max() or 1.0)[1]
    values = (given - np.median(given)) / unit
    usual = _one_level(values) if len(values) < small_samples.MANY else _surroundings(values)
    rest = values - usual.expected
    rest[np.abs(rest) <= _ROUNDING * float(np.abs(given).max()) / unit] = 0.0
    judged = _judge(rest, false_alarm, _grain(values))
    # An edge of a step of the level is where one side expects the value.
    out = judged.out & (np.abs(values - usual.other) > STEP * np.abs(rest))
    named = tuple(
        Anomaly(
            int(n),
            float(given[n]),
            float(given[n] - rest[n] * unit),
            float(abs(rest[n]) / judged.scale),
            "above" if rest[n] > 0 else "below",
            None if judged.chance is None else float(judged.chance[n]),
        )
        for n in np.flatnonzero(out)
    )
    scale, notes = float(judged.scale * unit), (*usual.notes, *judged.notes)
    return Found(named, judged.method, scale, judged.above, judged.below, usual.period, usual.half, notes)


@dataclass(frozen=True, slots=True)
class _Usual:
    """What is expected at each point: by both sides, and by the side that is nearer to the value."""

    expected: Floats
    other: Floats
    half: int
    period: int | None
    notes: tuple[str, ...]


def _surroundings(values: Floats) -> _Usual:
    cycle = season.find(values)
    seasonal = np.zeros(len(values)) if cycle is None else cycle.values
    level = around(values - seasonal)
    notes = [f"a run of more than {level.half // 2} such points counts as a new level"]
    if cycle is None:
        notes.append(f"a season of more than {len(values) // season.CYCLES} points cannot be seen")
    period = None if cycle is None else cycle.period
    return _Usual(level.expected + seasonal, level.other + seasonal, level.half, period, tuple(notes))


def _one_level(values: Floats) -> _Usual:
    level = np.full(len(values), np.median(values))
    note = f"fewer than {small_samples.MANY} points: one level, no trend, no season, and noise that is taken for normal"
    return _Usual(level, level, len(values) - 1, None, (note,))


@dataclass(frozen=True, slots=True)
class _Judged:
    out: npt.NDArray[np.bool_]
    method: Method
    scale: float
    above: float | None
    below: float | None
    chance: Floats | None = None
    notes: tuple[str, ...] = ()


def _judge(rest: Floats, false_alarm: float, grain: float) -> _Judged:
    none = np.zeros(len(rest), dtype=bool)
    away = np.abs(rest[rest != 0])
    if not len(away):
        return _Judged(none, "constant", 1.0, None, None)
    if len(away) <= max(1, RARE * len(rest)):
        return _Judged(rest != 0, "departures", float(np.median(away)), None, None)
    scale = spread(rest) or spread(away)
    if len(away) < LEAST_SIDE:
        note = f"{len(away)} points depart from an otherwise constant series: too few to tell which are anomalies"
        return _Judged(none, "departures", scale, None, None, notes=(note,))
    if len(rest) < small_samples.MANY:
        scores = np.abs(rest) / scale
        most = small_samples.limit(len(rest), false_alarm)
        return _Judged(scores > most, "few", scale, most, most, small_samples.chance(len(rest), scores))
    limits, chance = [], np.ones(len(rest))
    for sign in (1.0, -1.0):
        towards = sign * rest
        own = towards > 0
        side = pareto_tail.fit(towards[own] if own.sum() >= LEAST_SIDE else away, grain)
        limits.append(side.limit(false_alarm / 2))
        chance[own] = side.chance(towards[own])
    above, below = limits
    out = (rest > above) | (rest < -below)
    return _Judged(out, "tail", scale, above / scale, below / scale, chance)


def _grain(values: Floats) -> float:
    """The usual step between values where most values occur several times, else 0."""
    points = np.unique(values)
    return float(np.median(np.diff(points))) if 1 < len(points) <= len(values) // 2 else 0.0


def _checked(data: npt.ArrayLike) -> Floats:
    try:
        values = np.asarray(data, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidInputError(f"data must be numbers: {error}") from error
    if values.ndim != 1:
        raise InvalidInputError("data must be one list of numbers.")
    if not MIN_LENGTH <= len(values) <= MAX_LENGTH:
        raise InvalidInputError(f"data has {len(values)} values; from {MIN_LENGTH} to {MAX_LENGTH} are needed.")
    if not np.isfinite(values).all():
        raise InvalidInputError(f"data[{int(np.flatnonzero(~np.isfinite(values))[0])}] is not finite.")
    if np.abs(values).max() > LARGEST:
        raise InvalidInputError(f"values must be within ±{LARGEST:g}.")
    return values
