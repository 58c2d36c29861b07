"""Change-point detection: detects when a stream of observations no longer looks like its reference.

Needs NumPy alone: `Valve.calibrate(reference)`, `valve.update(batch)`, `valve.evidence`. False alarms come at a
promised rate.
"""

from seedcore.changepoint.calibration import Calibration
from seedcore.changepoint.thresholds import MAX_ARL0, MIN_ARL0, MIN_REFERENCE, ReferenceTooSmallError
from seedcore.changepoint.valve import Valve

__all__ = ["MAX_ARL0", "MIN_ARL0", "MIN_REFERENCE", "Calibration", "ReferenceTooSmallError", "Valve"]
