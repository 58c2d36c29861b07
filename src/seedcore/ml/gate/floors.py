"""What a candidate must keep whatever it gains: calibration and latency. A floor holds, is broken, or has no data."""

import math
from collections.abc import Mapping
from typing import Any

from seedcore.ml.gate.betting_mean import BettingMean
from seedcore.ml.gate.losses import Answer, brier, label_name, probabilities

BINS = 10
FEW = 50
"""Pairs below which a floor is not judged."""

_GROWTH = 1.1
_SMALLEST_S = 1e-6
_LAST = 240
SLOW_SHARE = 0.05
"""What a 95th percentile leaves above it."""
LATENCY_SLACK_S = 0.001
"""Differences below this are noise of the clock and of the machine."""


class CalibrationFloor:
    """Paired differences of Brier scores, and the expected calibration error (ECE) of both."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.worse = BettingMean.from_json(state["worse"]) if state else BettingMean()
        self._bins: dict[str, list[list[float]]] = state.get("bins") or {
            who: [[0, 0.0, 0.0] for _ in range(BINS)] for who in ("champion", "candidate")
        }

    def add(self, champion: Answer, candidate: Answer | None, label: object) -> None:
        """Take the answers to one task; without probabilities it counts nothing."""
        first = brier(champion, label)
        if first is None:
            return
        second = brier(candidate, label)
        self.worse.add((1.0 if second is None else second) - first)
        for who, answer in (("champion", champion), ("candidate", candidate)):
            given = probabilities(answer)
            if given is not None:
                name, sure = max(given.items(), key=lambda item: item[1])
                place = self._bins[who][min(int(sure * BINS), BINS - 1)]
                place[0] += 1
                place[1] += sure
                place[2] += name == label_name(label)

    def broken(self, margin: float, alpha: float) -> bool:
        """Whether the candidate is worse by more than `margin`, with an error of at most `alpha`."""
        return self.worse.n >= FEW and self.worse.log_evidence(margin) >= math.log(1.0 / alpha)

    def holds(self, margin: float) -> bool:
        """Whether the estimate is within the margin."""
        return self.worse.n < FEW or self.worse.mean <= margin

    def evidence(self, margin: float) -> dict[str, object] | None:
        """For people; None without probabilities."""
        if not self.worse.n:
            return None
        eces = {f"ece_{who}": self._ece(who) for who in self._bins}
        return {"margin": margin, "outcomes": self.worse.n, "brier_change": self.worse.mean, **eces}

    def _ece(self, who: str) -> float | None:
        total = sum(place[0] for place in self._bins[who])
        return sum(abs(sure - right) for _, sure, right in self._bins[who]) / total if total else None

    def to_json(self) -> dict[str, object]:
        """The state."""
        return {"worse": self.worse.to_json(), "bins": self._bins}


class LatencyFloor:
    """How long both took: a histogram of each, and how often the candidate exceeded its limit.

    The limit of a pair is made of the champion's 95th percentile before it, so the bet on "it is exceeded by more than
    5 in 100" is one on the past alone.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self._counts: dict[str, dict[str, int]] = state.get("counts") or {"champion": {}, "candidate": {}}
        self.slow = BettingMean.from_json(state["slow"]) if state else BettingMean()

    def add(self, champion_s: float, candidate_s: float | None, ratio: float) -> None:
        """Take how long both took for one task, in seconds."""
        if candidate_s is None:
            return
        known = self.percentile("champion")
        if known is not None and sum(self._counts["champion"].values()) >= FEW:
            self.slow.add(1.0 if candidate_s > _limit(known, ratio) else 0.0)
        for who, seconds in (("champion", champion_s), ("candidate", candidate_s)):
            counts, place = self._counts[who], _bucket(seconds)
            counts[place] = counts.get(place, 0) + 1

    def percentile(self, who: str, share: float = 1.0 - SLOW_SHARE) -> float | None:
        """A percentile in seconds, at most a tenth too high; None without data."""
        counts = self._counts[who]
        needed, seen = share * sum(counts.values()), 0
        for place in sorted(counts, key=int):
            seen += counts[place]
            if seen >= needed:
                return _SMALLEST_S * _GROWTH ** (int(place) + 1)
        return None

    def broken(self, alpha: float) -> bool:
        """Whether the candidate exceeds the limit too often, with an error of at most `alpha`."""
        return self.slow.n >= FEW and self.slow.log_evidence(SLOW_SHARE) >= math.log(1.0 / alpha)

    def holds(self, ratio: float) -> bool:
        """Whether the percentiles as they are keep the ratio."""
        first, second = self.percentile("champion"), self.percentile("candidate")
        return first is None or second is None or second <= _limit(first, ratio)

    def evidence(self, ratio: float) -> dict[str, object] | None:
        """For people; None without data."""
        first, second = self.percentile("champion"), self.percentile("candidate")
        if first is None or second is None:
            return None
        return {"ratio": ratio, "champion_p95_s": first, "candidate_p95_s": second, "over_limit": self.slow.mean}

    def to_json(self) -> dict[str, object]:
        """The state."""
        return {"counts": self._counts, "slow": self.slow.to_json()}


def _limit(champion_s: float, ratio: float) -> float:
    return max(champion_s * ratio, champion_s + LATENCY_SLACK_S)


def _bucket(seconds: float) -> str:
    if not seconds > _SMALLEST_S:
        return "0"
    return str(min(int(math.log(seconds / _SMALLEST_S) / math.log(_GROWTH)), _LAST))
