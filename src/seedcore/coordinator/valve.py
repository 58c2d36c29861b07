"""The public face of `seedcore.changepoint`: `from seedcore.coordinator.valve import Valve`."""

from seedcore.changepoint import MAX_ARL0, MIN_ARL0, MIN_REFERENCE, Calibration, ReferenceTooSmallError, Valve

__all__ = ["MAX_ARL0", "MIN_ARL0", "MIN_REFERENCE", "Calibration", "ReferenceTooSmallError", "Valve"]
