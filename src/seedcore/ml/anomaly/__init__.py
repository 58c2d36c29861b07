"""Finds the point anomalies of one series. `detect` is the only entry point."""

from seedcore.ml.anomaly.detect import Anomaly, Detection, detect
from seedcore.schemas.anomaly import MAX_LENGTH, MIN_LENGTH

__all__ = ["MAX_LENGTH", "MIN_LENGTH", "Anomaly", "Detection", "detect"]
