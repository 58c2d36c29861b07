"""The watch after a promotion: does the new champion lose more than what was known of it? Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedcore.changepoint.bounded_losses import LossDetector
from seedcore.ml.gate.betting_mean import BettingMean

ENOUGH = 100
"""Losses that a bound is made of, at least."""


def watch_bound(losses: Sequence[float], alpha: float, margin: float) -> float | None:
    """The mean loss above which the watch opens: what the mean may be by `losses`, and a margin; None: too few."""
    if len(losses) < ENOUGH:
        return None
    mean = BettingMean()
    for loss in losses:
        mean.add(loss)
    return min(mean.upper(alpha) + margin, 1.0)


class PromotionWatch:
    """A detector of the new champion's losses, and what it has seen. Its state is JSON of a few hundred bytes."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._detector = LossDetector.from_json(state["detector"])
        self.outcomes, self._total = int(state["outcomes"]), float(state["total"])
        self.opened = False

    @classmethod
    def begin(cls, bound: float, arl: float) -> "PromotionWatch":
        """A watch that has seen nothing."""
        return cls({"detector": LossDetector(bound, arl).to_json(), "outcomes": 0, "total": 0.0})

    def add(self, loss: float) -> bool:
        """Take a loss; whether the watch is open now."""
        self.outcomes += 1
        self._total += loss
        evidence = self._detector
        if not self.opened and evidence.update([loss]) is not None:
            self.opened = True
        return self.opened

    def evidence(self) -> dict[str, object]:
        """What it has seen: `chance` is that of an alarm without a reason among so many outcomes, at most."""
        return {
            "outcomes": self.outcomes,
            "loss": self._total / self.outcomes if self.outcomes else None,
            "bound": self._detector.bound,
            "arl": self._detector.arl,
            "chance": min(1.0, self.outcomes / self._detector.arl),
            "evidence": 0.5 if self.opened else self._detector.evidence,
            "opened": self.opened,
        }

    def to_json(self) -> dict[str, object]:
        """The state."""
        return {"detector": self._detector.to_json(), "outcomes": self.outcomes, "total": self._total}
