"""Watches how wrong a model is: an e-detector over its losses, and the accuracy of its newest outcomes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from seedcore.changepoint.bounded_losses import LossDetector
from seedcore.ml.monitoring.accuracy_window import (
    ARL0,
    WINDOW,
    Accuracy,
    AccuracyWindow,
    accuracy_of,
    accuracy_with_interval,
)
from seedcore.ml.monitoring.change_time import ALARM, MonitorAlarms, PredictionMark
from seedcore.ml.registry.model_manifest import ModelManifest

LossState = Literal["learning", "closed", "open"]
_ROUNDING = 1e-9


class LossMonitor:
    """The losses of one version.

    What is expected: the accuracy on held-out rows. When the first WINDOW outcomes were no alarm, they replace it if
    they are worse: the world may be harder than the training set without having changed. A version without an
    accuracy on held-out rows learns from these outcomes alone.
    """

    def __init__(self, held_out: Accuracy | None, arl0: float) -> None:
        self._arl0, self._expected, self._measured_at = arl0, held_out, "held_out"
        self._first: list[float] | None = []
        self._detector = None if held_out is None else LossDetector(1.0 - held_out.low, arl0)
        self.alarms = MonitorAlarms()
        self.window = AccuracyWindow()

    @classmethod
    def of(cls, manifest: ModelManifest, arl0: float) -> "LossMonitor":
        """The monitor of a version that just became champion."""
        return cls(held_out_accuracy(manifest), arl0)

    @property
    def state(self) -> LossState:
        """Learning, closed or open."""
        if self._detector is None:
            return "learning"
        return "open" if self.alarms.open else "closed"

    @property
    def arl0(self) -> float:
        """Mean outcomes between its false alarms."""
        return self._arl0

    def observe(self, losses: Sequence[float], marks: Sequence[PredictionMark], now: float) -> None:
        """Take losses in [0, 1] of new outcomes, in order."""
        if not losses:
            return
        expected = None if self._expected is None else self._expected.low
        self.window.observe(losses, marks, expected, now)
        if self._detector is not None:
            was_open, evidences = self.alarms.open, list[float]()
            for loss in losses:
                # After an alarm the detector begins again, and its evidence says nothing about it.
                alarmed = self._detector.update([loss]) is not None
                evidences.append(ALARM if alarmed else min(self._detector.evidence, ALARM - _ROUNDING))
            self.alarms.follow(evidences, marks, now)
            if self.alarms.open and not was_open:
                alarmed_at = marks[evidences.index(ALARM)]
                self.alarms.since = self.window.change_start(self._detector.bound, alarmed_at) or alarmed_at
        self._compare(losses)

    def _compare(self, losses: Sequence[float]) -> None:
        if self._first is None:
            return
        self._first += losses[: WINDOW - len(self._first)]
        if self.alarms.alarms or self.window.alarms.alarms:
            self._first = None
        elif len(self._first) >= WINDOW:
            live = accuracy_of(self._first)
            self._first = None
            if self._expected is None or live.low < self._expected.low:
                self._expected, self._measured_at = live, "after_promotion"
                self._detector = LossDetector(1.0 - live.low, self._arl0)

    def report(self) -> dict[str, object]:
        """The losses, as JSON."""
        report: dict[str, object] = {"state": self.state}
        if self._detector is None:
            learned = 0 if self._first is None else len(self._first)
            return report | {"learned": learned, "needed": WINDOW, "evidence": None}
        return report | {
            "evidence": self.alarms.evidence,
            "observed": self.alarms.observed,
            "alarms": self.alarms.alarms,
            "arl0": self._arl0,
            "bound": self._detector.bound,
        }

    def accuracy_report(self) -> dict[str, object] | None:
        """The measured and the expected accuracy, as JSON; None: no outcome is known."""
        measured = self.window.measured()
        if measured is None:
            return None
        expected = None if self._expected is None else self._expected.report() | {"of": self._measured_at}
        alarms = self.window.alarms
        state = "open" if alarms.open else "closed"
        return measured.report() | {"expected": expected, "state": state, "evidence": alarms.evidence, "arl0": ARL0}

    def to_json(self) -> dict[str, object]:
        """The whole state, as JSON."""
        expected = self._expected
        return {
            "arl0": self._arl0,
            "expected": None if expected is None else [expected.value, expected.low, expected.high, expected.rows],
            "measured_at": self._measured_at,
            "first": self._first,
            "detector": None if self._detector is None else self._detector.to_json(),
            "alarms": self.alarms.to_json(),
            "window": self.window.to_json(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "LossMonitor":
        """What `to_json` wrote.

        Raises:
            InvalidInputError: it is something else.
        """
        monitor = cls(None, stored["arl0"])
        monitor._expected = None if stored["expected"] is None else Accuracy(*stored["expected"])
        monitor._measured_at, monitor._first = stored["measured_at"], stored["first"]
        monitor._detector = None if stored["detector"] is None else LossDetector.from_json(stored["detector"])
        monitor.alarms = MonitorAlarms.from_json(stored["alarms"])
        monitor.window = AccuracyWindow.from_json(stored["window"])
        return monitor


def held_out_accuracy(manifest: ModelManifest) -> Accuracy | None:
    """1 - the mean loss on held-out rows; None: the version's metrics do not say."""
    rows = int(manifest.metrics.get("n_valid", 0))
    if rows < 1:
        return None
    if manifest.task == "regression":
        error = manifest.metrics.get("mae")
        if error is None or not manifest.loss_scale:
            return None
        # The mean of capped errors is at most the mean of the errors, capped.
        return accuracy_with_interval(1.0 - min(error / manifest.loss_scale, 1.0), rows)
    share = manifest.metrics.get("accuracy")
    return None if share is None else accuracy_with_interval(share, rows)
