"""Measured accuracy: of the newest outcomes, with an interval, against what the model was expected to have."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedcore.ml.monitoring.change_time import MonitorAlarms, PredictionMark
from seedcore.pricing.wilson import wilson

WINDOW, TAIL = 200, 20
Z_ALARM = 3.29
"""A window whose accuracy is so many standard errors below the expected is an alarm: one in 2,000 by chance."""

ARL0 = WINDOW * 2_000.0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers (of a regression: 1 - the mean loss) of so many rows, with a 95 % interval."""

    value: float
    low: float
    high: float
    rows: int

    def report(self) -> dict[str, object]:
        """As JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "rows": self.rows}


def accuracy_of(losses: Sequence[float]) -> Accuracy:
    """The accuracy that losses in [0, 1] mean; Wilson's interval (1927), whose variance bounds that of any loss."""
    return accuracy_with_interval(1.0 - sum(losses) / len(losses), len(losses))


def accuracy_with_interval(share: float, rows: int) -> Accuracy:
    """A measured share with Wilson's interval of 95 %."""
    return Accuracy(share, *wilson(share * rows, rows), rows)


@dataclass(slots=True)
class AccuracyWindow:
    """The newest WINDOW losses, and the alarms about whole windows that are too bad.

    Attributes:
        recent: the newest losses, with the predictions that they are of.
        filling: losses since the last window that was judged.
    """

    recent: deque[tuple[float, PredictionMark]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    filling: int = 0
    alarms: MonitorAlarms = field(default_factory=MonitorAlarms)

    def observe(
        self, losses: Sequence[float], marks: Sequence[PredictionMark], expected: float | None, now: float
    ) -> None:
        """Take losses in order; each whole window is held against the expected accuracy (its lower end)."""
        for loss, mark in zip(losses, marks, strict=True):
            self.recent.append((loss, mark))
            self.filling += 1
            if self.filling >= WINDOW and expected is not None:
                self.filling = 0
                self._judge(expected, now)

    def _judge(self, expected: float, now: float) -> None:
        found = self.measured()
        assert found is not None
        spread = math.sqrt(max(expected * (1.0 - expected), 0.25 / WINDOW) / WINDOW)
        evidence = 1.0 - 2.0 ** -(max(expected - found.value, 0.0) / spread / Z_ALARM)
        alarms = self.alarms
        alarms.observed, alarms.evidence = alarms.observed + WINDOW, evidence
        if evidence < 0.5:
            alarms.opened_at = alarms.since = None
            return
        alarms.alarms += 1
        alarms.begin(evidence, self.recent[0][1], alarms.observed, now)

    def measured(self) -> Accuracy | None:
        """The accuracy of the newest outcomes; None: there are none."""
        return accuracy_of([loss for loss, _ in self.recent]) if self.recent else None

    def change_start(self, bound: float, until: PredictionMark) -> PredictionMark | None:
        """From where on, among the newest losses up to `until`, their mean most likely exceeds `bound`.

        That is the place after the smallest sum of what each loss has more than half-way between the bound and the
        mean of the last TAIL (the maximum of a likelihood that is linear in the losses). None: there are no losses.
        """
        known = [(loss, mark) for loss, mark in self.recent if mark <= until]
        if not known:
            return None
        tail = [loss for loss, _ in known[-TAIL:]]
        middle = (bound + max(sum(tail) / len(tail), bound)) / 2
        start, lowest, total = 0, 0.0, 0.0
        for place, (loss, _) in enumerate(known[:-1], start=1):
            total += loss - middle
            if total <= lowest:
                start, lowest = place, total
        return known[start][1]

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        recent = [[loss, *mark] for loss, mark in self.recent]
        return {"recent": recent, "filling": self.filling, "alarms": self.alarms.to_json()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "AccuracyWindow":
        """What `to_json` wrote."""
        window = cls(filling=stored["filling"], alarms=MonitorAlarms.from_json(stored["alarms"]))
        window.recent.extend((loss, PredictionMark(seq, made_at)) for loss, seq, made_at in stored["recent"])
        return window
