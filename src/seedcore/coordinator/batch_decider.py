"""Answers dispatchers of the previous release: learns from their reports, decides for their batches."""

from seedcore.coordinator.fleet_cache import FleetCache
from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.publishing.report_learner import ReportLearner
from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import BatchDecision, TaskBatch
from seedcore.decision.decide import decide
from seedcore.schemas.coordinator import DecideColumns


class BatchDecider:
    """Decides with the current fleet and policy; the rates, the backlog and the counts are updated by each answer."""

    def __init__(self, fleet: FleetCache, routing: RoutingState, policy: PolicyRuntime, learner: ReportLearner) -> None:
        self._fleet, self._routing, self._policy, self._learner = fleet, routing, policy, learner
        self.batches = 0

    async def answer(self, question: DecideColumns) -> BatchDecision:
        """Learn from the dispatcher's report, then decide for its batch.

        Raises:
            UnavailableError: there is no routing table or no policy yet, or the database does not answer.
        """
        fleet = await self._fleet.get()
        self._learner.learn(question, question.asker, question.undecided)
        decided = decide(question.tasks.batch(), fleet, self._routing, await self._policy.context())
        fleet.assign(question.asker, question.question, decided.assignments())
        counts = decided.counts()
        self.batches += 1
        self._learner.count_decisions({f"{route or 'wait'}:{rule}": count for (route, rule), count in counts.items()})
        self._policy.record_decisions(counts)
        return decided

    async def preview(self, tasks: TaskBatch) -> BatchDecision:
        """What would be decided for these tasks now; nothing is changed. Raises as `answer` does."""
        fleet = await self._fleet.get()
        return decide(tasks, fleet, self._routing.for_dry_run(), await self._policy.context())
