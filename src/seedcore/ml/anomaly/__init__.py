"""Point anomalies of one series: what is expected at each point, and how far from it clean values go.

Needs NumPy alone. `detect` is all that others call.
"""

from seedcore.ml.anomaly.detect import MAX_LENGTH, MIN_LENGTH, Anomaly, Found, detect

__all__ = ["MAX_LENGTH", "MIN_LENGTH", "Anomaly", "Found", "detect"]
