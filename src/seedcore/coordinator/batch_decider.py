"""Answers dispatchers' questions: learns from their reports, decides for their batches, and counts what was decided."""

from seedcore.coordinator.fleet_cache import FleetCache
from seedcore.coordinator.ledger_writer import LedgerWriter
from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import BatchDecision, TaskBatch
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.schemas.coordinator import DecideColumns, Question


class BatchDecider:
    """Decides with the current fleet and policy; the rates, the backlog and the counts are updated by each answer."""

    def __init__(self, fleet: FleetCache, routing: RoutingState, policy: PolicyRuntime, ledger: LedgerWriter) -> None:
        self._fleet, self._routing, self._policy, self._ledger = fleet, routing, policy, ledger
        self.batches = 0
        self.dropped_reports = 0
        self.decisions: dict[str, int] = {}
        """Tasks by `route:rule`."""

    async def answer(self, question: DecideColumns) -> BatchDecision:
        """Learn from a dispatcher's report, then decide for its batch.

        Raises:
            UnavailableError: there is no routing table or no policy yet, or the database does not answer.
        """
        fleet = await self._fleet.get()
        self._learn(question, fleet)
        decided = decide(question.tasks.batch(), fleet, self._routing, await self._policy.context())
        fleet.assign(question.asker, question.question, decided.assignments())
        counts = decided.counts()
        self.batches += 1
        for (route, rule), count in counts.items():
            key = f"{route or 'wait'}:{rule}"
            self.decisions[key] = self.decisions.get(key, 0) + count
        self._policy.record_decisions(counts)
        return decided

    async def preview(self, tasks: TaskBatch) -> BatchDecision:
        """What would be decided for these tasks now; nothing is changed. Raises as `answer` does."""
        fleet = await self._fleet.get()
        return decide(tasks, fleet, self._routing.for_dry_run(), await self._policy.context())

    def _learn(self, report: Question, fleet: Fleet) -> None:
        for outcome in report.outcomes:
            fleet.learn(outcome["agent"], outcome["type"], outcome["count"], outcome["seconds"], outcome["successes"])
        for spent in report.spent:
            fleet.money_rates.add(spent["agent"], spent["type"], spent["count"], spent["money"])
        self.dropped_reports += report.dropped
        self._ledger.record(report.energy, fleet)
        self._policy.record_report(report.streams, report.unplanned)
        outstanding = [(item["agent"], item["type"], item["count"]) for item in report.outstanding]
        fleet.report(report.asker, outstanding, report.undecided)
