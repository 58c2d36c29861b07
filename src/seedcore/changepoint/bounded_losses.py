"""Detects that the mean of losses in [0, 1] has risen above a bound, whatever their distribution.

An e-detector of Shiryaev-Roberts type (Shin, Ramdas and Rinaldo 2022): for a bet λ the evidence for a change at any
earlier moment is M ← (M + 1)(1 + λ(x - bound)), and several bets share it. While every loss has a conditional mean of
at most `bound`, the sum of evidence after n losses has a mean of at most n. So with a threshold of `arl` the mean
number of losses until a false alarm is at least `arl`, and the chance of one within n losses is at most n / `arl`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from seedcore.errors import InvalidInputError

BETS = 12
"""How many sizes of change share the evidence."""

MIN_BOUND, MAX_BOUND = 0.001, 0.999
_SMALLEST_BET, _LARGEST_BET = 0.02, 0.95


@dataclass(slots=True)
class LossDetector:
    """Watches losses one after the other; its state is `to_json()`, a few hundred bytes.

    Attributes:
        bound: the mean of losses up to which nothing is wrong, within [MIN_BOUND, MAX_BOUND].
        arl: the mean number of losses until a false alarm is at least this.
        seen: losses since the start or the last alarm.
    """

    bound: float
    arl: float = 10_000.0
    seen: int = 0
    _sums: list[float] = field(default_factory=lambda: [0.0] * BETS)

    def __post_init__(self) -> None:
        if not math.isfinite(self.bound):
            raise InvalidInputError.for_field("bound", "must be a number")
        if not 1.0 < self.arl < 1e12:
            raise InvalidInputError.for_field("arl", "must be more than 1 and less than 1e12")
        self.bound = min(max(self.bound, MIN_BOUND), MAX_BOUND)

    def update(self, losses: Iterable[float]) -> int | None:
        """Take losses in order; the index of the first alarm among them, behind which nothing was taken; or None.

        After an alarm it starts again from nothing.

        Raises:
            InvalidInputError: a loss is not within [0, 1]; those before it were taken.
        """
        bets, sums, bound = self._bets(), self._sums, self.bound
        limit = self.arl * BETS
        for index, loss in enumerate(losses):
            if not 0.0 <= loss <= 1.0:
                raise InvalidInputError.for_field(f"losses.{index}", "must be from 0 to 1")
            excess = loss - bound
            # Without an alarm each sum is below `limit`, and no factor is 0: it cannot overflow, and always recovers.
            for k in range(BETS):
                sums[k] = (sums[k] + 1.0) * (1.0 + bets[k] * excess)
            self.seen += 1
            if sum(sums) >= limit:
                self.reset()
                return index
        return None

    def _bets(self) -> list[float]:
        """From small ones, for small changes, to nearly 1 / bound, which a loss of 0 makes worthless."""
        ratio = (_LARGEST_BET / _SMALLEST_BET) ** (1.0 / (BETS - 1))
        return [_SMALLEST_BET * ratio**k / self.bound for k in range(BETS)]

    @property
    def evidence(self) -> float:
        """How near an alarm is: 0 without evidence, 0.5 at the alarm (as the valve has it)."""
        level = math.log(max(sum(self._sums) / BETS, 1.0)) / math.log(self.arl)
        return float(1.0 - 2.0**-level)

    def reset(self) -> None:
        """Forget what was seen."""
        self._sums = [0.0] * BETS
        self.seen = 0

    def to_json(self) -> dict[str, object]:
        """The state, for a jsonb column."""
        return {"bound": self.bound, "arl": self.arl, "seen": self.seen, "sums": list(self._sums)}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> "LossDetector":
        """The detector that `to_json` described.

        Raises:
            InvalidInputError: it describes none.
        """
        bound, arl, seen, sums = (state.get(name) for name in ("bound", "arl", "seen", "sums"))
        if not (isinstance(bound, int | float) and isinstance(arl, int | float) and isinstance(seen, int)):
            raise InvalidInputError.for_field("state", "is not that of a detector of losses")
        if not isinstance(sums, list) or len(sums) != BETS or not all(_is_sum(value) for value in sums):
            raise InvalidInputError.for_field("state.sums", f"must be {BETS} numbers that are not negative")
        return cls(float(bound), float(arl), seen, [float(value) for value in sums])


def _is_sum(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0.0
