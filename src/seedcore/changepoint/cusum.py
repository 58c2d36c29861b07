"""CUSUM: cumulative sums of log likelihood ratios for several sizes of change at once, batch by batch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedcore.changepoint.whitening import Floats


@dataclass(slots=True)
class Cusums:
    """Rows of one-sided CUSUMs over standard normal scores: S ← max(0, S + δ x - δ²/2), alarm at S ≥ threshold.

    Attributes:
        channel: for each of r rows its channel.
        slope: δ with its sign, shape (r,).
        threshold: shape (r,).
        sums: S, shape (r,).
    """

    channel: npt.NDArray[np.int64]
    slope: Floats
    threshold: Floats
    sums: Floats

    def update(self, scores: Floats) -> tuple[Floats, Floats]:
        """Process scores, shape (c, m).

        Returns:
            the highest S / threshold at each observation, shape (m,); 1 or more is an alarm, after which every sum
            restarts at 0. And S / threshold by row at the last observation, shape (r,), before such a restart.
        """
        # In units of each row's threshold: an alarm is at 1.
        steps = scores[self.channel]
        steps *= (self.slope / self.threshold)[:, None]
        steps -= (0.5 * self.slope**2 / self.threshold)[:, None]
        level = self.sums / self.threshold
        highest = np.empty(scores.shape[1])
        last, start = level, 0
        while start < len(highest):
            rest = steps[:, start:].copy()
            rest[:, 0] += level
            paths = np.cumsum(rest, axis=1)
            paths -= np.minimum(np.minimum.accumulate(paths, axis=1), 0.0)
            highest[start:] = paths.max(axis=0)
            alarms = highest[start:] >= 1.0
            first = int(alarms.argmax())
            if not alarms[first]:
                last = level = paths[:, -1]
                break
            last, level = paths[:, first], np.zeros_like(level)
            start += first + 1
        self.sums = level * self.threshold
        return highest, last
