"""The test of a candidate against the champion on the same tasks: promote, refuse, or go on. Pure.

What is promised, however often one looks: a candidate that gains no more than the margin is promoted with a probability
of at most alpha. A promotion needs every proof by itself (the gain, and each judged slice), so none of them has to
share alpha with another; only the slices share theirs among themselves. What refuses has an alpha of its own, in four
equal parts: no gain, calibration, latency, slices. Calibration and latency hold by their estimates and are broken with
confidence.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from seedcore.ml.gate.betting_mean import BettingMean
from seedcore.ml.gate.floors import CalibrationFloor, LatencyFloor
from seedcore.ml.gate.losses import Answer, loss
from seedcore.ml.gate.slices import Slices, SliceVerdict
from seedcore.ml.registry.model_manifest import ModelManifest

INDIFFERENCE = 0.005
"""A gain that is shown to be at most this much over the margin is not worth waiting for."""
REFUSALS = 4
LOOK_EVERY = 10
"""Pairs between two looks at what refuses; at the gain it looks after each."""
POINTS_APART = 1.03

Verdict = Literal["promote", "refuse"]


@dataclass(frozen=True, slots=True)
class GateTerms:
    """What a promotion is decided by, fixed when it is opened.

    Attributes:
        alpha: the chance that a candidate without a gain is promoted, at most.
        margin: the gain (of mean loss) that is asked for.
        calibration_margin: of Brier scores.
        latency_ratio: of the 95th percentile to the champion's.
        slices: {column: the loss that is allowed in a slice}.
    """

    alpha: float = 0.05
    margin: float = 0.0
    min_outcomes: int = 100
    max_outcomes: int = 20_000
    calibration_margin: float = 0.02
    latency_ratio: float = 2.0
    slices: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """For the column `terms`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "GateTerms":
        """What `to_json` wrote; what is missing has its default."""
        return cls(**{name: stored[name] for name in cls.__slots__ if name in stored})


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """What both said about one task whose truth is known. `candidate` is None where it could not answer."""

    champion: Answer
    candidate: Answer | None
    label: object
    champion_s: float = 0.0
    candidate_s: float | None = None
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What was decided after `outcomes` pairs, and why."""

    verdict: Verdict
    reason: str
    outcomes: int


class GateTest:
    """A test that goes on: `add` pairs until it decides. Its state is JSON of some kilobytes."""

    def __init__(self, terms: GateTerms, state: Mapping[str, Any] | None = None) -> None:
        self.terms = terms
        state = state or {}
        self.gain, self.champion, self.candidate = (
            BettingMean.from_json(state[name]) if state else BettingMean() for name in ("gain", "champion", "candidate")
        )
        self._calibration = CalibrationFloor(state.get("calibration"))
        self._latency = LatencyFloor(state.get("latency"))
        self._slices = Slices(state.get("slices", ()))
        self._unanswered = int(state.get("unanswered", 0))
        self._points: list[list[float]] = [list(point) for point in state.get("points", ())]

    @property
    def outcomes(self) -> int:
        """Pairs so far."""
        return self.gain.n

    def add(self, pair: AnswerPair, champion: ModelManifest) -> GateDecision | None:
        """Take a pair; the decision, once there is one. The champion's manifest says what a loss is, for both: of a
        regression each has a scale of its own, by which the worse model would look better."""
        first, second = loss(pair.champion, pair.label, champion), loss(pair.candidate, pair.label, champion)
        self._unanswered += pair.candidate is None
        self._calibration.add(pair.champion, pair.candidate, pair.label)
        self._latency.add(pair.champion_s, pair.candidate_s, self.terms.latency_ratio)
        return self.add_losses(first, second, pair.slices)

    def add_losses(
        self, champion: float, candidate: float, slices: Mapping[str, str] | None = None
    ) -> GateDecision | None:
        """Take the losses of both at one task; the decision, once there is one."""
        self.champion.add(champion)
        self.candidate.add(candidate)
        self.gain.add(champion - candidate)
        self._slices.add(slices or {}, champion - candidate)
        if self.outcomes >= (self._points[-1][0] * POINTS_APART if self._points else 1):
            self._note_point()
        decision = self._decide()
        if decision is not None and self._points[-1][0] != self.outcomes:
            self._note_point()
        return decision

    def _decide(self) -> GateDecision | None:
        terms, n = self.terms, self.outcomes
        if n < terms.min_outcomes:
            return None
        proven = self.gain.log_evidence(terms.margin) >= math.log(1.0 / terms.alpha)
        last = n >= terms.max_outcomes
        if not (proven or last or n % LOOK_EVERY == 0):
            return None
        part = terms.alpha / REFUSALS
        slices = list(self._verdicts())
        if (broken := self._broken(slices, part)) is not None:
            return GateDecision("refuse", broken, n)
        if not proven and self.gain.log_evidence_below(terms.margin + INDIFFERENCE) >= math.log(1.0 / part):
            return GateDecision("refuse", "The candidate does not gain what is asked for.", n)
        missing = self._missing(proven, slices)
        if missing is None:
            return GateDecision("promote", "The candidate loses less than the champion, and keeps every floor.", n)
        return GateDecision("refuse", f"After {n} outcomes {missing}.", n) if last else None

    def _broken(self, slices: list[SliceVerdict], part: float) -> str | None:
        terms = self.terms
        if self._calibration.broken(terms.calibration_margin, part):
            return "The candidate's probabilities are worse than the champion's by more than the margin."
        if self._latency.broken(part):
            return "The candidate is slower than the champion by more than the ratio."
        lost = next((one for one in slices if one.status == "broken"), None)
        return None if lost is None else f"The candidate loses too much where {lost.column} is {lost.value}."

    def _missing(self, proven: bool, slices: list[SliceVerdict]) -> str | None:
        terms = self.terms
        if not proven:
            return "a gain is not shown"
        if not self._calibration.holds(terms.calibration_margin):
            return "the candidate's probabilities look worse than the champion's by more than the margin"
        if not self._latency.holds(terms.latency_ratio):
            return "the candidate looks slower than the champion by more than the ratio"
        for one in slices:
            if one.status == "open":
                return f"it is not shown that the candidate keeps its margin where {one.column} is {one.value}"
        return None

    def _verdicts(self) -> list[SliceVerdict]:
        terms = self.terms
        return list(self._slices.verdicts(terms.slices, self.outcomes, terms.alpha, terms.alpha / REFUSALS))

    def _note_point(self) -> None:
        self._points.append([self.outcomes, *(round(value, 6) for value in (self.gain.mean, *self._bounds()))])

    def _bounds(self) -> tuple[float, float]:
        low, high = self.gain.lower(self.terms.alpha), self.gain.upper(self.terms.alpha / REFUSALS)
        # What was refuted once stays refuted.
        return (max(low, self._points[-1][2]), min(high, self._points[-1][3])) if self._points else (low, high)

    def bound_of_candidate(self) -> float | None:
        """A loss that the candidate's mean is not above, with an error of at most alpha; None before the first pair."""
        return self.candidate.upper(self.terms.alpha) if self.outcomes else None

    def evidence(self) -> dict[str, object]:
        """All that it rests on; `points` are `[outcomes, gain, lower, upper]`."""
        terms = self.terms
        lower, upper = self._bounds()
        return {
            "outcomes": self.outcomes,
            "gain": {
                "mean": self.gain.mean,
                "lower": lower,
                "upper": upper,
                "margin": terms.margin,
                "alpha": terms.alpha,
                "log_evidence": self.gain.log_evidence(terms.margin),
                "needed": math.log(1.0 / terms.alpha),
            },
            "loss": {"champion": self.champion.mean, "candidate": self.candidate.mean},
            "unanswered": self._unanswered,
            "calibration": self._calibration.evidence(terms.calibration_margin),
            "latency": self._latency.evidence(terms.latency_ratio),
            "slices": [one.evidence() for one in self._verdicts()],
            "points": self._points,
        }

    def to_json(self) -> dict[str, object]:
        """The state, for the column `state`."""
        return {
            "gain": self.gain.to_json(),
            "champion": self.champion.to_json(),
            "candidate": self.candidate.to_json(),
            "calibration": self._calibration.to_json(),
            "latency": self._latency.to_json(),
            "slices": self._slices.to_json(),
            "unanswered": self._unanswered,
            "points": self._points,
        }
