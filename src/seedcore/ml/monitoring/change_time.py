"""When a change began and whether a monitor is open, from the evidence after each observation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self

QUIET, ALARM = 0.2, 0.5
"""Evidence below QUIET says that nothing had changed yet; from ALARM on it is an alarm."""

CALM = 400
"""Observations without an alarm after which an open monitor closes."""


class PredictionMark(NamedTuple):
    """A recorded prediction: its number, and when it was made (seconds since 1970)."""

    seq: int
    made_at: float


@dataclass(slots=True)
class MonitorAlarms:
    """The alarms of one monitor.

    Attributes:
        observed: observations in total.
        alarms: alarms in total.
        evidence: the highest of the newest observations, in [0, 1).
        peak: the highest since it opened.
        opened_at: when it opened (seconds since 1970); None: it is not open.
        since: the estimated beginning of the change that opened it: the first observation after the last quiet one.
        seen: observations until the alarm that opened it.
        calm: observations since the last alarm.
        first: the first observation since the evidence was last quiet.
    """

    observed: int = 0
    alarms: int = 0
    evidence: float = 0.0
    peak: float = 0.0
    opened_at: float | None = None
    since: PredictionMark | None = None
    seen: int = 0
    calm: int = 0
    first: PredictionMark | None = None

    @property
    def open(self) -> bool:
        """Whether it is open: after an alarm, until CALM observations without another."""
        return self.opened_at is not None

    def follow(self, evidences: Sequence[float], marks: Sequence[PredictionMark], now: float) -> None:
        """Take the evidence after each observation, in order; `marks` are the predictions observed."""
        if not marks:
            return
        self.evidence = max(evidences)
        for evidence, mark in zip(evidences, marks, strict=True):
            self.observed += 1
            self.calm += 1
            if evidence < QUIET:
                self.first = None
            elif self.first is None:
                self.first = mark
            if evidence >= ALARM:
                self.alarms += 1
                self.calm = 0
                self.begin(evidence, self.first or mark, self.observed, now)
            elif self.open and self.calm >= CALM:
                self.opened_at = self.since = None

    def begin(self, evidence: float, since: PredictionMark, seen: int, now: float) -> None:
        """Take an alarm: it opens what was not open."""
        if self.opened_at is None:
            self.opened_at, self.since, self.seen, self.peak = now, since, seen, evidence
        self.peak = max(self.peak, evidence)

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, object]) -> Self:
        """What `to_json` wrote.

        Raises:
            TypeError: it is something else.
        """
        marks = {name: None if (mark := stored[name]) is None else _mark(mark) for name in ("since", "first")}
        return cls(**{**stored, **marks})  # type: ignore[arg-type]  # values are as they were written


def _mark(stored: object) -> PredictionMark:
    if not isinstance(stored, list | tuple):
        raise TypeError(f"no mark of a prediction: {stored!r}")
    return PredictionMark(int(stored[0]), float(stored[1]))
