"""Collects what a worker reports to the Coordinator: what waits where, how tasks went, and what was decided."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from seedcore.pricing.outcome_sums import Sums
from seedcore.pricing.plan_allowance import MAX_LENT, PlanAllowance
from seedcore.schemas.coordinator import EnergyReport
from seedcore.schemas.snapshot import WorkerReportJson
from seedcore.schemas.stream_rows import StreamRows
from seedcore.skills.host_protocol import Completion
from seedcore.tasks.model import Lease
from seedcore.telemetry.metrics import counter
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.decisions.stream_samples import StreamSamples

_DECISIONS = counter("seedcore_decisions_total")

MAX_KEYS = 20_000
"""(agent, type) pairs in one report. While no Coordinator answers, outcomes of further ones are counted as dropped."""

AgentType = tuple[str, str]
"""An agent and a task type."""


@dataclass(slots=True)
class ReportBody:
    """What happened since the last report.

    Attributes:
        outcomes: count, seconds and successes by agent and type.
        spent: attempts that reported money, and how much, by agent and type.
        energy: what outcomes did to the energy, by type.
        unplanned: tasks that run as they are because no plan was available.
        dropped: outcomes that had no room, and reports that the Coordinator refused.
        decided: decisions by `route:rule`.
        rule_failures: policy rules that could not be evaluated.
        plans, plans_wanted: plans that were started, and how many more are wanted; filled when the report is taken.
        streams: rows for the valves; filled when the report is taken.
    """

    outcomes: dict[AgentType, tuple[int, float, int]] = field(default_factory=dict)
    spent: dict[AgentType, tuple[int, float]] = field(default_factory=dict)
    energy: dict[str, Sums] = field(default_factory=dict)
    unplanned: int = 0
    dropped: int = 0
    decided: Counter[str] = field(default_factory=Counter)
    rule_failures: Counter[str] = field(default_factory=Counter)
    plans: int = 0
    plans_wanted: int = 0
    streams: list[StreamRows] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.outcomes or self.decided or self.streams or self.unplanned or self.dropped)


class ReportCollector:
    """Collects between reports. A report is sent again, under its number, until it is heard."""

    def __init__(self) -> None:
        self.outstanding: dict[AgentType, int] = {}
        """Tasks that were sent to agents and have not come back."""
        self.allowance = PlanAllowance()
        self._waiting: set[UUID] = set()
        self.counts = {"reports": 0, "refused_reports": 0, "dropped_outcomes": 0}
        self._unlearned: dict[AgentType, tuple[int, float, int]] = {}
        self._samples = StreamSamples()
        self._next = ReportBody()
        self._sent: tuple[int, ReportBody] | None = None
        self._number = 0

    def sent(self, agent: str, task_type: str) -> None:
        """A task was sent to an agent."""
        key = agent, task_type
        self.outstanding[key] = self.outstanding.get(key, 0) + 1

    def returned(self, agent: str, task_type: str) -> None:
        """A task that may have been sent to an agent is over there."""
        key = agent, task_type
        left = self.outstanding.get(key, 1) - 1
        if left > 0:
            self.outstanding[key] = left
        else:
            self.outstanding.pop(key, None)

    def forget_outstanding(self) -> None:
        """The session was lost: nothing is outstanding."""
        self.outstanding.clear()

    def observe(self, tasks: Iterable[Lease]) -> None:
        """Tasks were claimed and decided: sample them for the valves."""
        for task in tasks:
            self._samples.add_task(task)

    def record_completion(
        self, completion: Completion, decision: RouteDecision | None = None, domain: str | None = None
    ) -> None:
        """An agent answered: its time and success, and what `decision` expected of it."""
        self._samples.add_outcome(domain, completion)
        body, key = self._next, (completion.agent, completion.skill)
        known = body.outcomes.get(key)
        if known is None and len(body.outcomes) >= MAX_KEYS:
            body.dropped += 1
            self.counts["dropped_outcomes"] += 1
            return
        count, seconds, good = known or (0, 0.0, 0)
        body.outcomes[key] = (count + 1, seconds + completion.seconds, good + completion.ok)
        count, seconds, good = self._unlearned.get(key, (0, 0.0, 0))
        self._unlearned[key] = (count + 1, seconds + completion.seconds, good + completion.ok)
        if completion.usage is not None and (money := completion.usage[1]) > 0:
            paid, so_far = body.spent.get(key, (0, 0.0))
            body.spent[key] = (paid + 1, so_far + money)
        if decision is not None and (expected := decision.expected) is not None:
            sums = body.energy.get(completion.skill)
            if sums is None:
                sums = body.energy[completion.skill] = Sums()
            sums.add(expected, completion.seconds, completion.ok, completion.usage)

    def take_unlearned(self) -> dict[AgentType, tuple[int, float, int]]:
        """Outcomes since the last call: count, seconds and successes by agent and type; they count here at once."""
        taken, self._unlearned = self._unlearned, {}
        return taken

    def count_decision(self, route: str | None, rule: str, tasks: int = 1) -> None:
        """Tasks were decided about."""
        self._next.decided[f"{route or 'wait'}:{rule}"] += tasks
        _DECISIONS.add(tasks, route=route or "wait")
        if route == "plan":
            self.allowance.started(tasks)

    def waits_for_share(self, task_id: UUID) -> bool:
        """Whether a task may wait for this worker's next share of the budget of plans: as many as that can be.

        A task that is looked at again before the next report waits once.
        """
        if task_id not in self._waiting and len(self._waiting) >= MAX_LENT:
            return False
        self._waiting.add(task_id)
        return True

    def count_rule_failure(self, rule: str, times: int) -> None:
        """A rule of the policy could not be evaluated."""
        self._next.rule_failures[rule] += times

    def count_unplanned(self) -> None:
        """A task runs as it is because no plan was available."""
        self._next.unplanned += 1

    def unheard(self) -> list[ReportBody]:
        """What no heard report holds yet, the older part first."""
        return [self._next] if self._sent is None else [self._sent[1], self._next]

    def take(self, asker: str, session: str, knows: tuple[int, int], wait_s: float) -> WorkerReportJson:
        """The report to send now: the one that was not heard, or what was collected since.

        Args:
            asker: the worker's name.
            session: of this start of the worker.
            knows: generation and version of its snapshot.
            wait_s: longest time that the answer may wait for a change.
        """
        if self._sent is None:
            self._number += 1
            body, self._next = self._next, ReportBody()
            body.streams = self._samples.take()
            wanted = len(self._waiting) + self.allowance.started_since
            body.plans, body.plans_wanted = self.allowance.begin_report(wanted)
            self._waiting.clear()
            self._sent = self._number, body
        number, body = self._sent
        return {
            "asker": asker,
            "session": session,
            "number": number,
            "generation": knows[0],
            "version": knows[1],
            "wait_s": wait_s,
            "unplanned": body.unplanned,
            "dropped": body.dropped,
            "outstanding": [{"agent": a, "type": t, "count": n} for (a, t), n in self.outstanding.items()],
            "outcomes": [
                {"agent": a, "type": t, "count": n, "seconds": s, "successes": g}
                for (a, t), (n, s, g) in body.outcomes.items()
            ],
            "spent": [{"agent": a, "type": t, "count": n, "money": m} for (a, t), (n, m) in body.spent.items()],
            "energy": [_energy_report(t, sums) for t, sums in body.energy.items() if sums.outcomes],
            "streams": body.streams,
            "decided": dict(body.decided),
            "rule_failures": dict(body.rule_failures),
            "plans": body.plans,
            "plans_wanted": body.plans_wanted,
        }

    @property
    def busy(self) -> bool:
        """Whether something happened since the last report was taken."""
        return bool(self.outstanding) or not self._next.empty

    def heard(self, number: int) -> None:
        """The Coordinator has heard the reports up to `number`."""
        if self._sent is not None and number >= self._sent[0]:
            self._sent = None
            self.counts["reports"] += 1

    def refused(self) -> None:
        """The Coordinator refuses the report that was sent: it would refuse it again, so it is dropped and counted."""
        if self._sent is not None:
            self._sent = None
            self._next.dropped += 1
            self.counts["refused_reports"] += 1


def _energy_report(task_type: str, sums: Sums) -> EnergyReport:
    return {
        "type": task_type,
        "outcomes": sums.outcomes,
        "expected_s": sums.expected_s,
        "realised_s": sums.realised_s,
        "expected_failures": sums.expected_failures,
        "failures": sums.failures,
        "expected_delta": sums.expected_delta,
        "realised_delta": sums.realised_delta,
        "realised_squares": sums.realised_squares,
        "squared_error": sums.squared_error,
        "tokens": sums.tokens,
        "money": sums.money,
    }
