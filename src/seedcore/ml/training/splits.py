"""Divides a training set: rows to fit, rows that say when to stop, and rows that measure and nothing else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedcore.ml.data.dataset import Table

HELD_OUT = 0.2
"""Share of the rows that measure, and of the rest that says when to stop."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowSplit:
    """Positions of rows; `stopping` is empty without early stopping."""

    fitting: Rows
    stopping: Rows
    held: Rows


def split(table: Table, seed: int, *, stopping: bool = False) -> RowSplit:
    """A fifth of the rows is held out: of each class, or of all for a regression; at least one of each.

    Where there is time it is the newest fifth, because a model is asked about what comes after its training. With
    `stopping`, a fifth of the rest is kept apart in the same way; the held-out rows say nothing about when to stop.
    """
    everything = np.arange(len(table.targets))
    rest, held = _part(table, everything, seed)
    if not stopping:
        return RowSplit(rest, np.empty(0, dtype=np.int64), held)
    fitting, apart = _part(table, rest, seed + 1)
    return RowSplit(fitting, apart, held)


def _part(table: Table, rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """(rest, a fifth); the rest is never empty, as a class of one row stays in it."""
    if table.times is not None:
        ordered = rows[np.argsort(table.times[rows], kind="stable")]
        count = max(1, round(HELD_OUT * len(ordered)))
        return np.sort(ordered[:-count]), np.sort(ordered[-count:])
    rng = np.random.default_rng(seed)
    targets = table.targets[rows]
    groups = [rows] if not table.labels else [rows[targets == code] for code in range(len(table.labels))]
    rest, apart = [], []
    for group in groups:
        mixed = rng.permutation(group)
        count = min(max(1, round(HELD_OUT * len(mixed))), len(mixed) - 1) if len(mixed) else 0
        apart.append(mixed[:count])
        rest.append(mixed[count:])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(apart))
