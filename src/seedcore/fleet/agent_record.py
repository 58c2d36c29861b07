"""What is known of one agent: what it has learned, its tasks in hand, and the row that is written of it."""

from dataclasses import dataclass, field

from seedcore.fleet import agent_roles
from seedcore.fleet.agent_lifecycle import Stage, SuccessRecord
from seedcore.pricing.rates import DEFAULT_SECONDS, RateEstimate


@dataclass(slots=True)
class LearnedState:
    """What an agent has learned: this outlives its host.

    Attributes:
        completed: attempts that succeeded, over the agent's whole life.
        failed: attempts that did not.
        rates: speed and success for each task type.
        stage: its place in the life cycle.
        record: outcomes that the stage is derived from; None before the first outcome.
        roles: faded successes by role.
        memory: scope of its private memory; None when it never stored anything.
    """

    completed: int = 0
    failed: int = 0
    rates: dict[str, RateEstimate] = field(default_factory=dict)
    stage: Stage = Stage.SCOUT
    record: SuccessRecord | None = None
    roles: dict[str, float] | None = None
    memory: str | None = None

    def merge_earlier(self, earlier: "LearnedState", *, keep_stage: bool = False) -> None:
        """Add `earlier`, as learned before all of this.

        Args:
            earlier: what was stored.
            keep_stage: ignore the earlier stage and the outcomes that it was derived from.
        """
        self.completed += earlier.completed
        self.failed += earlier.failed
        self.memory = self.memory or earlier.memory
        for task_type, rate in earlier.rates.items():
            self.rates.setdefault(task_type, RateEstimate()).merge_earlier(rate)
        if earlier.roles:
            self.roles = self.roles or {}
            agent_roles.merge_earlier(self.roles, earlier.roles)
        if keep_stage:
            return
        self.stage = earlier.stage
        if earlier.record is not None:
            self.record = self.record or SuccessRecord()
            self.record.merge_earlier(earlier.record)


@dataclass(slots=True)
class ActiveAgent(LearnedState):
    """An agent in a host's memory: what it has learned, and its tasks in hand by type.

    Attributes:
        last_used: when it last got work, on `time.monotonic()`.
        re_employed: a person has re-employed it; the stage that was stored before does not count.
    """

    id: str = ""
    in_hand: dict[str, int] = field(default_factory=dict)
    last_used: float = 0.0
    re_employed: bool = False

    @property
    def running(self) -> int:
        """Tasks in hand: running, or waiting for a slot on the host."""
        return sum(self.in_hand.values())

    @property
    def queued_s(self) -> float:
        """Expected seconds of work in hand."""
        known = self.rates
        return sum(n * (known[t].mean_seconds() if t in known else DEFAULT_SECONDS) for t, n in self.in_hand.items())


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent at one moment, ready to be written to the table `agents`; JSON types."""

    id: str
    organ: str
    running: int
    queued_s: float
    completed: int
    failed: int
    rates: dict[str, dict[str, float]]
    lifecycle: str
    standing: dict[str, float] | None
    roles: dict[str, float] | None
    role_counts: dict[str, float] | None
    memory: str | None
