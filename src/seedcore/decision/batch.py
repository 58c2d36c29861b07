"""What goes into a decision and comes out of it, by columns: the tasks of a batch, and what becomes of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

GOAL = "goal"
"""The type of a task that names a goal and no skill; the same as `tasks.model.GOAL`, which this room cannot import."""

Data = tuple[str, float]
"""The agent, host or node where a task's data is, and how many bytes."""


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """Facts about n tasks by field, each of length n: features, never payloads.

    Attributes:
        type: the skill's name, or `goal`.
        domain: None where the task has none.
        priority: higher runs first.
        attempt: from 1.
        size: bytes of the params.
        approved: whether a person released the task.
        direct: whether it is never planned: a step of a plan, or no plan was found for it.
        data: where the task's data is; None where that is unknown.
    """

    type: Sequence[str]
    domain: Sequence[str | None]
    priority: Sequence[int]
    attempt: Sequence[int]
    size: Sequence[int]
    approved: Sequence[bool]
    direct: Sequence[bool]
    data: Sequence[Data | None]

    @classmethod
    def of_types(cls, types: Sequence[str]) -> Self:
        """First attempts at tasks of these types; every other field has its default."""
        n = len(types)
        return cls(types, [None] * n, [0] * n, [1] * n, [0] * n, [False] * n, [False] * n, [None] * n)

    def __len__(self) -> int:
        return len(self.type)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What many decisions of a batch share.

    Attributes:
        route: `fast`, `plan`, `hold` or `reject`; None: no agent can take the task at present.
        evidence: of a change in the task's stream, in [0, 1); None: the stream has no valve.
        expected_s: expected seconds at the agent.
        timeout_s: the skill's own timeout.
        hold_s: how long a held task waits for a person; None: as the setting says.
    """

    route: str | None
    rule: str
    reason: str
    agent: str | None = None
    host: str | None = None
    evidence: float | None = None
    expected_s: float = 0.0
    timeout_s: float | None = None
    hold_s: float | None = None


@dataclass(slots=True)
class Assignments:
    """Tasks that one batch assigns to agents: for each agent how many, and their expected seconds."""

    agents: list[str]
    tasks: list[int]
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class BatchDecision:
    """Decisions by column, one entry for each task, in order.

    Attributes:
        verdicts: every different verdict.
        verdict: for each task the index of its verdict in `verdicts`.
        delta_energy: energy that each task adds, in seconds²; None where no agent is selected.
        expected_failure: in [0, 1]; None where no agent is selected.
        v: seconds² that one failure weighs in `delta_energy`.
        fleet_epoch: epoch of the routing table that was used.
    """

    verdicts: list[Verdict]
    verdict: list[int]
    delta_energy: list[float | None]
    expected_failure: list[float | None]
    v: float
    fleet_epoch: int

    def assignments(self) -> Assignments:
        """What the decisions assign to agents."""
        found = Assignments([], [], [])
        for n, count in Counter(self.verdict).items():
            verdict = self.verdicts[n]
            if verdict.agent is not None:
                found.agents.append(verdict.agent)
                found.tasks.append(count)
                found.seconds.append(count * verdict.expected_s)
        return found

    def counts(self) -> Counter[tuple[str | None, str]]:
        """Tasks by route and rule."""
        found: Counter[tuple[str | None, str]] = Counter()
        for n, count in Counter(self.verdict).items():
            verdict = self.verdicts[n]
            found[verdict.route, verdict.rule] += count
        return found
