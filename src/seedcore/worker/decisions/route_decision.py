"""One decision as a worker acts on it, and as it is stored with the task."""

from collections.abc import Mapping
from typing import NamedTuple

from seedcore.pricing.outcome_sums import Expected


class RouteDecision(NamedTuple):
    """What was decided for one task; `route` is None when no agent can take it now.

    `timeout_s` is the skill's own, and so is `hold_s`: how long a held task waits for a person.
    `expected_failure` (in [0, 1]) and `v` (seconds² that one failure weighs) are what `delta_energy` was computed with;
    None where no agent was priced. `snapshot_age_s` is set when the worker had not heard from the Coordinator for long.
    `move`: what is tried for an escalated task.
    """

    route: str | None
    rule: str
    reason: str
    agent: str | None = None
    host: str | None = None
    delta_energy: float | None = None
    evidence: float | None = None
    expected_s: float = 0.0
    timeout_s: float | None = None
    expected_failure: float | None = None
    v: float | None = None
    hold_s: float | None = None
    snapshot_age_s: float | None = None
    move: Mapping[str, object] | None = None

    @property
    def expected(self) -> Expected | None:
        """What its outcome is compared with; None where no agent was priced."""
        if self.delta_energy is None or self.expected_failure is None or self.v is None:
            return None
        return Expected(self.expected_s, self.expected_failure, self.v, self.delta_energy)

    def record(self) -> dict[str, object]:
        """The part that is stored with the task."""
        record: dict[str, object] = {
            "route": self.route,
            "rule": self.rule,
            "reason": self.reason,
            "agent": self.agent,
            "delta_energy": self.delta_energy,
            "evidence": self.evidence,
        }
        if self.snapshot_age_s is not None:
            record["snapshot_age_s"] = round(self.snapshot_age_s, 1)
        if self.move is not None:
            record["move"] = dict(self.move)
        return record
