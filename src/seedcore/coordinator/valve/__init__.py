"""The valve: says when a stream of observations stopped looking like its reference, at a promised rate of false alarms.

A library of its own (NumPy alone): `Valve.calibrate(reference)`, `valve.update(batch)`, `valve.evidence`.
"""

from seedcore.coordinator.valve.sentinel import Calibration, Valve
from seedcore.coordinator.valve.thresholds import MAX_ARL0, MIN_ARL0, MIN_REFERENCE, ReferenceTooSmallError

__all__ = ["MAX_ARL0", "MIN_ARL0", "MIN_REFERENCE", "Calibration", "ReferenceTooSmallError", "Valve"]
