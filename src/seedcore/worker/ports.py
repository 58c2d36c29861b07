"""What a dispatcher needs from the rest of the system; the Ray side of it is in `worker.actors.ray_actors`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from seedcore.pricing.outcome_sums import Expected, Sums
from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.model import Lease


class HostUnavailableError(Exception):
    """The host did not take the calls: none of them has begun."""


class HostLostError(Exception):
    """The host ended while calls were running: it is not known which of them took effect."""


class Decision(NamedTuple):
    """What the Coordinator decided for one task; `route` is None when no agent can take it just now.

    `timeout_s` is the skill's own, and so is `hold_s`: how long a task that is held waits for a person.
    `expected_failure` (in [0, 1]) and `v` (seconds² that one failure weighs) are what `delta_energy` was made with;
    None where the Coordinator does not tell.
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

    @property
    def expected(self) -> Expected | None:
        """What its outcome is held against; None where no agent was priced."""
        if self.delta_energy is None or self.expected_failure is None or self.v is None:
            return None
        return Expected(self.expected_s, self.expected_failure, self.v, self.delta_energy)

    def record(self) -> dict[str, Any]:
        """The part that is stored with the task."""
        return {
            "route": self.route,
            "rule": self.rule,
            "reason": self.reason,
            "agent": self.agent,
            "delta_energy": self.delta_energy,
            "evidence": self.evidence,
        }


@dataclass(slots=True)
class Watched:
    """What the valve gets to see of a stream's outcomes: features of the first few of `seen`."""

    seen: int = 0
    rows: list[list[float]] = field(default_factory=list)


@dataclass(slots=True)
class Feedback:
    """What a dispatcher tells the Coordinator with every question.

    `outstanding` is the whole of what it waits for, by (agent, type). All since the last question that was answered:
    `outcomes` is (count, seconds, successes) by (agent, type), `energy` what they did to the energy by type, `spent`
    (attempts that reported money, money) by (agent, type), `unplanned` counts tasks that run as they are because there
    was no plan, `dropped` items of reports that the Coordinator refused.
    `question` is this one's number, `undecided` are those before that have not been answered: what they will send to
    agents is not in `outstanding`.
    """

    outstanding: dict[tuple[str, str], int] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], tuple[int, float, int]] = field(default_factory=dict)
    energy: dict[str, Sums] = field(default_factory=dict)
    watched: dict[tuple[str | None, str], Watched] = field(default_factory=dict)
    spent: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    unplanned: int = 0
    dropped: int = 0
    question: int = 0
    undecided: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanAsk:
    """What a plan is asked for: the goal, what is there, most steps, skills not to run, and the skills of the earlier
    steps that completed, by the step's name."""

    goal: Any
    inputs: Mapping[str, Any]
    max_steps: int | None = None
    without: Sequence[str] = ()
    done: Mapping[str, str] = field(default_factory=dict)


class Brain(Protocol):
    """Who decides: the Coordinator and the Cognitive service."""

    async def decide(self, tasks: Sequence[Lease], feedback: Feedback) -> list[Decision]:
        """One decision for each task, in order. It is told about a task, never its payload."""

    async def plan(self, ask: PlanAsk) -> dict[str, Any]:
        """A plan: `{steps, output}`."""


class Hosts(Protocol):
    """Who runs skills: the organism's hosts, by name."""

    def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        """Run `calls` on `host`, yielding completions as they happen.

        Raises:
            HostUnavailableError: nothing has begun.
            HostLostError: the host ended in between.
        """

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Cancel running calls; a host that is gone has none."""


class Cluster(Protocol):
    """The cluster that hosts and the Coordinator live on."""

    async def silence(self) -> str | None:
        """Why its control (Ray's GCS) does not answer; None: it does."""
