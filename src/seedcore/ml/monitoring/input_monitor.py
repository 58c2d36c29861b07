"""Watches what a model is asked: the valve over its features, calibrated on the rows that it was trained on."""

import json
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from seedcore.changepoint import MAX_ARL0, MIN_REFERENCE, Valve
from seedcore.ml.monitoring.change_time import MonitorAlarms, PredictionMark
from seedcore.ml.monitoring.monitor_archive import pack_arrays, to_bytes_array, unpack_arrays
from seedcore.ml.monitoring.watched_features import Rows, WatchedFeatures
from seedcore.schemas.ml.models import Column

MAX_LEARNED_VALUES = 2_000_000
"""Features times rows that a monitor keeps while it learns; of a wider model fewer rows would be too few."""

InputState = Literal["learning", "closed", "open", "unwatched"]


class InputMonitor:
    """The inputs of one version. Its methods compute for up to a second: call them in a thread.

    Attributes:
        reason: why it watches nothing; None: it watches, or learns.
    """

    def __init__(self, columns: Sequence[Column], features: int, arl0: float) -> None:
        self._columns, self._features, self._arl0 = list(columns), features, min(arl0, MAX_ARL0)
        self.alarms = MonitorAlarms()
        self._rows: npt.NDArray[np.float32] = np.zeros((0, features), dtype=np.float32)
        self._watched: WatchedFeatures | None = None
        self._valve: Valve | None = None
        wide = features * MIN_REFERENCE > MAX_LEARNED_VALUES or not features
        self.reason = f"{features} features are more than it watches" if wide else None

    @property
    def state(self) -> InputState:
        """Unwatched, learning, closed or open."""
        if self.reason is not None:
            return "unwatched"
        if self._valve is None:
            return "learning"
        return "open" if self.alarms.open else "closed"

    def learn(self, rows: npt.NDArray[np.float32]) -> None:
        """Take reference rows, shape (n, features); calibrate as soon as there are enough."""
        if self.reason is not None or self._valve is not None:
            return
        self._rows = np.concatenate([self._rows, rows.astype(np.float32)])
        if len(self._rows) < MIN_REFERENCE:
            return
        reference = self._rows.astype(np.float64)
        self._watched = WatchedFeatures.learn(reference, self._columns)
        self._valve = Valve.calibrate(self._watched.observe(reference), self._arl0)
        self._rows = self._rows[:0]

    def observe(self, rows: Rows, marks: Sequence[PredictionMark], now: float) -> None:
        """Take the features of new predictions, shape (m, features), in order."""
        if self.reason is not None or not len(rows):
            return
        if self._valve is None or self._watched is None:
            self.learn(rows.astype(np.float32))
            return
        evidence = self._valve.follow(self._watched.observe(rows))
        self.alarms.follow(evidence.tolist(), marks, now)

    def report(self) -> dict[str, object]:
        """As JSON."""
        if self.reason is not None:
            return {"state": self.state, "reason": self.reason}
        if self._valve is None:
            return {"state": "learning", "learned": len(self._rows), "needed": MIN_REFERENCE, "evidence": None}
        calibration = self._valve.calibration
        rehearsed = None if calibration.rehearsal is None else calibration.rehearsal.arl0
        return {
            "state": self.state,
            "evidence": self.alarms.evidence,
            "observed": self.alarms.observed,
            "alarms": self.alarms.alarms,
            "arl0": calibration.arl0,
            "arl0_achieved": rehearsed,
            "reference": calibration.reference,
        }

    @property
    def arl0(self) -> float:
        """Mean predictions between its false alarms."""
        return self._arl0

    def to_bytes(self) -> bytes:
        """The whole state, without pickles."""
        arrays: dict[str, npt.NDArray[Any]] = {"rows": self._rows}
        meta: dict[str, object] = {"alarms": self.alarms.to_json(), "arl0": self._arl0, "reason": self.reason}
        if self._valve is not None and self._watched is not None:
            arrays["valve"] = to_bytes_array(self._valve.to_bytes())
            meta["watched"] = self._watched.to_json()
        return pack_arrays(arrays | {"meta": to_bytes_array(json.dumps(meta).encode())})

    @classmethod
    def from_bytes(cls, data: bytes, columns: Sequence[Column], features: int) -> Self:
        """What `to_bytes` wrote.

        Raises:
            InvalidInputError: the bytes are something else.
        """
        arrays, meta = unpack_arrays(data)
        monitor = cls(columns, features, float(meta["arl0"]))
        monitor.alarms = MonitorAlarms.from_json(meta["alarms"])
        monitor.reason = meta["reason"]
        monitor._rows = arrays["rows"]
        if "valve" in arrays:
            monitor._valve = Valve.from_bytes(arrays["valve"].tobytes())
            monitor._watched = WatchedFeatures.from_json(meta["watched"])
        return monitor
