"""Real handwritten digits as a stream whose world changes: the scanner is put back turned by 90 degrees."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LABEL = "digit"
TRAINED_ON = 900

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DigitStream:
    """scikit-learn's 1,797 digits of 8 by 8 pixels: TRAINED_ON of them for training, the others to be asked about.

    Attributes:
        columns: names of the 64 pixels.
        train_rows, later_rows: shape (n, 64).
        train_labels, later_labels: what each shows, 0 to 9.
        seed: of the order in which the later ones come.
    """

    columns: list[str]
    train_rows: Floats
    train_labels: list[int]
    later_rows: Floats
    later_labels: list[int]
    seed: int

    def stream(self) -> Iterator[tuple[Floats, int]]:
        """The later digits without end: all in a random order, then all again in another one."""
        rng = np.random.default_rng(self.seed + 1)
        while True:
            for place in rng.permutation(len(self.later_rows)):
                yield self.later_rows[place], self.later_labels[place]


def load(seed: int) -> DigitStream:
    """The digits, divided at random."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.data))
    train, later = order[:TRAINED_ON], order[TRAINED_ON:]
    return DigitStream(
        [f"pixel_{row}_{column}" for row in range(8) for column in range(8)],
        found.data[train],
        found.target[train].tolist(),
        found.data[later],
        found.target[later].tolist(),
        seed,
    )


def turned(row: Floats) -> Floats:
    """The constructed shift: the same digit, turned by 90 degrees against the clock. Its label stays."""
    return np.rot90(row.reshape(8, 8)).reshape(64)
