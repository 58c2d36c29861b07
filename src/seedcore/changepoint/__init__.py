"""Change-point detection: says when a stream of observations stopped looking like its reference.

A library of its own (NumPy alone): `Valve.calibrate(reference)`, `valve.update(batch)`, `valve.evidence`. False alarms
come at a promised rate.
"""

from seedcore.changepoint.thresholds import MAX_ARL0, MIN_ARL0, MIN_REFERENCE, ReferenceTooSmallError
from seedcore.changepoint.valve import Calibration, Valve

__all__ = ["MAX_ARL0", "MIN_ARL0", "MIN_REFERENCE", "Calibration", "ReferenceTooSmallError", "Valve"]
