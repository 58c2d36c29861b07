"""Says whether one predictor is better than another on rows in time order: a t-test on means of blocks.

Neighbouring tasks are alike, so that a test of single rows would be too sure; means of long blocks hardly depend on
each other (batch means: Law and Kelton, Simulation Modeling and Analysis).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCKS = 20
T_95 = 1.729
"""The 95th percentile of Student's t with BLOCKS - 1 degrees of freedom."""

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much lower the losses are: the mean, and what it exceeds with 95 % confidence."""

    mean: float
    low: float


def gain(before: Losses, after: Losses) -> Gain:
    """How much lower `after` is than `before`, row by row.

    Args:
        before, after: losses of the same rows in time order, shape (n,), n at least BLOCKS.

    Raises:
        ValueError: there are fewer rows than blocks, or the shapes differ.
    """
    if before.shape != after.shape or len(before) < BLOCKS:
        raise ValueError(f"give two losses for each of at least {BLOCKS} rows; got {before.shape} and {after.shape}")
    means = np.array([block.mean() for block in np.array_split(before - after, BLOCKS)])
    spread = float(means.std(ddof=1)) / math.sqrt(BLOCKS)
    return Gain(float(means.mean()), float(means.mean()) - T_95 * spread)
