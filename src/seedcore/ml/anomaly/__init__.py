"""Finds the point anomalies of one series (`detect`), or of several together (`detect_columns`)."""

from seedcore.ml.anomaly.detect import Anomaly, Detection, detect
from seedcore.ml.anomaly.detect_columns import JointDetection, detect_columns
from seedcore.schemas.ml.anomaly import MAX_LENGTH, MIN_LENGTH

__all__ = ["MAX_LENGTH", "MIN_LENGTH", "Anomaly", "Detection", "JointDetection", "detect", "detect_columns"]
