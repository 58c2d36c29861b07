"""Thresholds of the CUSUMs that keep the promised ARL₀ with a finite reference.

Ranks among n reference values have the same distribution for any data, so the thresholds are one table by n and ARL₀.
The table averages over references too: each simulated stream has its own reference, and one lag of autocorrelation as
large as n observations cannot detect (standard deviation 1/√n). So it includes the error of an atypical reference.
"""

import numpy as np

from seedcore.errors import InvalidInputError

MIN_REFERENCE = 500
MAX_REFERENCE = 4_000
MIN_ARL0, MAX_ARL0 = 100.0, 1_000_000.0

SLOPES = (0.5, 1.0, 2.0)
"""The sizes of change, in standard deviations; each has its own CUSUM."""

OFFSETS = (0.15, -0.15, 0.8)
"""For each size, the difference of its threshold to the common one."""

_HEIGHTS = np.array([4.0, 6.0, 8.0, 10.0, 12.0])
_ARL = {
    500: (124.4, 743.7, 4106.0, 20712.0, 91335.0),
    700: (124.4, 776.5, 4581.0, 25862.0, 142336.0),
    1000: (124.4, 787.8, 4823.0, 29279.0, 174888.0),
    1500: (124.4, 802.4, 5111.0, 31528.0, 197970.0),
    2000: (124.4, 812.7, 5236.0, 32911.0, 198000.0),
    4000: (124.4, 825.6, 5407.0, 37249.0, 240741.0),
}
"""Observations per alarm of a two-sided set of CUSUMs at each height, for each size of reference: simulated, 39 million
observations and 10,000 references a row (`python -m benchmarks.valve --parts thresholds`)."""


class ReferenceTooSmallError(InvalidInputError, ValueError):
    """Too few observations to calibrate on: the stream is still learning."""

    code, title = "reference_too_small", "The reference is too small"


def threshold(n: int, arl0: float) -> float:
    """The common threshold of a two-sided set of CUSUMs with a reference of `n` and `arl0` observations per alarm."""
    sizes = sorted(_ARL)
    at = np.interp(1.0 / n, [1.0 / size for size in reversed(sizes)], [_height(size, arl0) for size in reversed(sizes)])
    return float(at)


def _height(size: int, arl0: float) -> float:
    """Linear interpolation in log ARL₀; the outer segments are extended."""
    logs = np.log(_ARL[size])
    k = int(np.clip(np.searchsorted(logs, np.log(arl0)) - 1, 0, len(logs) - 2))
    slope = (_HEIGHTS[k + 1] - _HEIGHTS[k]) / (logs[k + 1] - logs[k])
    return float(max(_HEIGHTS[k] + slope * (np.log(arl0) - logs[k]), 1.0))
