"""The life cycle of an agent: scout, employed or archived, derived from measured success with hysteresis.

Success is compared with what the agent's peers achieve at the same task types: where every agent fails, the skill or
its tasks are at fault, and no agent is archived for it. The bounds are those of Wilson's score interval at 95 % (Wilson
1927; Agresti and Coull 1998, "Approximate is better than exact", show that it also holds for few outcomes).

- scout: fewer than MIN_OUTCOMES outcomes are known. Every agent starts as one.
- employed: enough outcomes are known, and they give no reason to archive it.
- archived: even the upper bound of its success is below ARCHIVE_BELOW of its peers' success. It is employed again when
  the lower bound is above BACK_ABOVE of it, or when a person re-employs it: it is a scout then, with a clean record.

Outcomes fade as they do for rates (`pricing.rates.FORGET`: a memory of 50), so old failures are forgiven where an agent
still gets work. Between the two bounds nothing changes: that is the hysteresis.
"""

from dataclasses import dataclass
from enum import StrEnum

from seedcore.pricing.rates import FORGET
from seedcore.pricing.wilson import wilson

MIN_OUTCOMES = 20.0
"""Outcomes, after fading, that a stage is derived from at the earliest."""

ARCHIVE_BELOW = 0.5
BACK_ABOVE = 0.8
"""Shares of the peers' success."""


class Stage(StrEnum):
    """What an agent is to its organ."""

    SCOUT = "scout"
    EMPLOYED = "employed"
    ARCHIVED = "archived"


@dataclass(slots=True)
class SuccessRecord:
    """Fading counts that a stage is derived from: outcomes, successes, and the successes expected of the peers."""

    outcomes: float = 0.0
    successes: float = 0.0
    expected: float = 0.0

    def add(self, *, ok: bool, peers: float) -> None:
        """Add one outcome of a task that peers succeed at with probability `peers`."""
        self.outcomes = self.outcomes * FORGET + 1
        self.successes = self.successes * FORGET + ok
        self.expected = self.expected * FORGET + peers

    def merge_earlier(self, earlier: "SuccessRecord") -> None:
        """Add the outcomes of `earlier`, as older than all in this record."""
        keep = 1.0 - (1.0 - FORGET) * self.outcomes
        self.outcomes += earlier.outcomes * keep
        self.successes += earlier.successes * keep
        self.expected += earlier.expected * keep


def next_stage(stage: Stage, record: SuccessRecord) -> Stage:
    """The stage after the outcomes in `record`, coming from `stage`; the rules are in the module's docstring."""
    if record.outcomes < MIN_OUTCOMES:
        return stage
    peers = record.expected / record.outcomes
    low, high = wilson(record.successes, record.outcomes)
    if high < ARCHIVE_BELOW * peers:
        return Stage.ARCHIVED
    if stage is Stage.ARCHIVED and low <= BACK_ABOVE * peers:
        return Stage.ARCHIVED
    return Stage.EMPLOYED
