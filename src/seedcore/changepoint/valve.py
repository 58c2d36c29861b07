"""The valve: watches a stream of observations, raises alarms and gives the evidence of a change."""

from typing import Self

import numpy as np
import numpy.typing as npt

from seedcore.changepoint import serialization
from seedcore.changepoint.arl_simulation import simulate_run_lengths
from seedcore.changepoint.calibration import Calibration
from seedcore.changepoint.cusum import Cusums
from seedcore.changepoint.projections import Whitened, reference_series
from seedcore.changepoint.rank_scores import Channel
from seedcore.changepoint.thresholds import (
    MAX_ARL0,
    MAX_REFERENCE,
    MIN_ARL0,
    MIN_REFERENCE,
    OFFSETS,
    SLOPES,
    ReferenceTooSmallError,
    threshold,
)
from seedcore.changepoint.whitening import Floats
from seedcore.errors import InvalidInputError

MAX_COLUMNS = 256
_BLOCK = 256

MARGIN = (1.2, 300.0)
"""Where an autoregression is fitted before ranking, thresholds are set for (a + b / n) times ARL₀."""

RANKS_MARGIN = 1.1
"""The factor where none is fitted."""

# The series that a valve watches: name, whether in both directions, share of the false-alarm budget.
_ONE = (("level", True, 0.93), ("spread", True, 0.07))
_MANY = (("direction", False, 0.35), ("slow_direction", False, 0.35), ("unusualness", True, 0.3))


class Valve:
    """Watches a stream of observations of d numbers; made by `calibrate`, or by `from_bytes`."""

    def __init__(
        self, calibration: Calibration, whitened: Whitened | None, channels: list[Channel], cusums: Cusums
    ) -> None:
        self.calibration = calibration
        self._whitened, self._channels, self._cusums = whitened, channels, cusums
        self._level = cusums.sums / cusums.threshold

    @classmethod
    def calibrate(
        cls, reference: npt.ArrayLike, arl0: float = 10_000, seed: int = 0, *, rehearsal: bool = True
    ) -> Self:
        """Learn what normal looks like.

        Args:
            reference: shape (n, d), or (n,) for d = 1, in time order; n is at least 500, the newest 4,000 are used.
            arl0: mean observations between false alarms, from 100 to 1,000,000.
            seed: seeds tie-breaking and the simulation.
            rehearsal: whether to simulate run lengths on resampled streams, which takes half a second; it raises the
                thresholds where they would alarm more than three times too often.

        Raises:
            ReferenceTooSmallError: there are fewer than 500 observations.
            InvalidInputError: a value is not finite, or `arl0` or d is out of range.
        """
        rows = _rows(reference, None)
        if len(rows) < MIN_REFERENCE:
            raise ReferenceTooSmallError(
                f"{len(rows)} observations are too few to calibrate on: at least {MIN_REFERENCE} are needed."
            )
        if not MIN_ARL0 <= arl0 <= MAX_ARL0:
            raise InvalidInputError(f"arl0 must be from {MIN_ARL0:g} to {MAX_ARL0:g}, not {arl0:g}.")
        rows = rows[-MAX_REFERENCE:]
        n, d = rows.shape
        generators = np.random.default_rng(seed).spawn(5)
        channels, residuals, whitened = _learn(rows, generators)
        cusums = (
            _cusums(n, arl0, _ONE, [len(c.past.coefficients) > 0 for c in channels])
            if d == 1
            else _cusums(n, arl0, _MANY, [True] * 3)
        )
        simulation = simulate_run_lengths(residuals, cusums, arl0, generators[-1]) if rehearsal else None
        if simulation is not None:
            cusums.threshold *= simulation.raised
        return cls(Calibration(n, d, float(arl0), simulation), whitened, channels, cusums)

    def update(self, batch: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Process the next m observations.

        Args:
            batch: shape (m, d), or (m,) for d = 1.

        Returns:
            shape (m,): whether there is an alarm at that observation; the sums restart after each alarm.

        Raises:
            InvalidInputError: d differs from the reference's, or a value is not finite; nothing was processed.
        """
        alarms: npt.NDArray[np.bool_] = self.follow(batch) >= 0.5
        return alarms

    def follow(self, batch: npt.ArrayLike) -> Floats:
        """`update`, with the evidence at each observation, shape (m,): from 0.5 on it is an alarm."""
        rows = _rows(batch, self.calibration.columns)
        levels = [self._process(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
        return _evidence(np.concatenate(levels)) if levels else np.zeros(0)

    @property
    def evidence(self) -> float:
        """How strong the evidence of a change is, in [0, 1): 1 - 2^(-S/h), at least 0.5 at an alarm."""
        return float(_evidence(self._level.max()))

    @property
    def leading(self) -> str:
        """The series with the strongest evidence of a change."""
        names = _ONE if self.calibration.columns == 1 else _MANY
        return names[int(self._cusums.channel[int(self._level.argmax())])][0]

    def restart(self) -> None:
        """Reset all sums; the reference stays."""
        self._cusums.sums = np.zeros_like(self._cusums.sums)
        self._level = np.zeros_like(self._level)

    def to_bytes(self) -> bytes:
        """The whole state as a NumPy archive without pickles; `from_bytes` continues exactly from here."""
        return serialization.pack(self.calibration, self._whitened, self._channels, self._cusums, self._level)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The valve that `to_bytes` wrote.

        Raises:
            InvalidInputError: the bytes are not a valve's state.
        """
        state = serialization.unpack(data)
        valve = cls(state.calibration, state.whitened, state.channels, state.cusums)
        valve._level = state.level
        return valve

    def _process(self, rows: Floats) -> Floats:
        if self._whitened is None:
            scores = np.empty((2, len(rows)))
            scores[0] = self._channels[0].scores(rows[:, 0])
            scores[1] = self._channels[1].scores(_far(scores[0]))
        else:
            series = self._whitened.series(rows)
            scores = np.stack([channel.scores(series[:, k]) for k, channel in enumerate(self._channels)])
        highest, self._level = self._cusums.update(scores)
        return highest


def _learn(rows: Floats, generators: list[np.random.Generator]) -> tuple[list[Channel], Floats, Whitened | None]:
    """Channels, their reference residuals, shape (n, c), and the transform before them."""
    if rows.shape[1] == 1:
        level, residuals = Channel.fit(rows[:, 0], generators[0])
        spread, far = Channel.fit(_far(level.after.own_scores(residuals)), generators[1])
        return [level, spread], np.stack([residuals, far], axis=1), None
    fits = [Channel.fit(series, rng) for series, rng in zip(reference_series(rows).T, generators, strict=False)]
    return [channel for channel, _ in fits], np.stack([r for _, r in fits], axis=1), Whitened.fit(rows)


def _evidence(level: npt.ArrayLike) -> Floats:
    evidence: Floats = 1.0 - 2.0 ** -np.maximum(level, 0.0)
    return evidence


def _far(scores: Floats) -> Floats:
    """Distance from the middle, shifted slightly so that no two scores are equally far."""
    return np.abs(scores - 1e-5)


def _cusums(n: int, arl0: float, watched: tuple[tuple[str, bool, float], ...], fitted: list[bool]) -> Cusums:
    channel, slope, height = [], [], []
    for k, (_, both_ways, share) in enumerate(watched):
        margin = MARGIN[0] + MARGIN[1] / n if fitted[k] else RANKS_MARGIN
        # One side alarms half as often as the two sides of the table.
        common = threshold(n, margin * arl0 / share * (1.0 if both_ways else 2.0))
        for sign in (1.0, -1.0) if both_ways else (1.0,):
            for size, offset in zip(SLOPES, OFFSETS, strict=True):
                channel.append(k)
                slope.append(sign * size)
                height.append(common + offset)
    return Cusums(np.array(channel), np.array(slope), np.array(height), np.zeros(len(height)))


def _rows(values: npt.ArrayLike, columns: int | None) -> Floats:
    try:
        rows = np.asarray(values, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidInputError(f"observations must be numbers, as many in each: {error}") from error
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not 1 <= rows.shape[1] <= MAX_COLUMNS:
        raise InvalidInputError(f"observations must have the shape (m, d) with d from 1 to {MAX_COLUMNS}.")
    if columns is not None and rows.shape[1] != columns:
        raise InvalidInputError(f"{rows.shape[1]} columns; the reference has {columns}.")
    if not np.isfinite(rows).all():
        raise InvalidInputError("observations must be finite numbers.")
    return rows
