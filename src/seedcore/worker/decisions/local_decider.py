"""Decides where the lease is: the one pure decision function on this worker's snapshot."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Literal

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import BatchDecision, TaskBatch
from seedcore.decision.decide import decide
from seedcore.decision.policy import Policy
from seedcore.settings import Settings
from seedcore.tasks.model import Lease
from seedcore.telemetry.metrics import counter
from seedcore.worker.decisions.data_locality import data_of
from seedcore.worker.decisions.foreign_work import ForeignWork
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.decisions.snapshot_state import SnapshotState

USED_UP = 2**31
"""Plans a minute that no rule allows."""

_NO_SHARE = "waits for its share of the budget of plans, which the Coordinator lends"


class LocalDecider:
    """See `ports.Decider`.

    Args:
        settings: options of routing, and how old a snapshot may be.
        state: what it decides with.
        reports: counts what was decided, and knows what waits at which agent.
        hop_s: the measured seconds that a call to another worker takes beyond the skill's own.
        foreign: the calls of others that run in this process; None: there are none.
    """

    def __init__(
        self,
        settings: Settings,
        state: SnapshotState,
        reports: ReportCollector,
        hop_s: Callable[[], float],
        foreign: ForeignWork | None = None,
    ) -> None:
        self._state, self._reports, self._hop_s = state, reports, hop_s
        self._foreign = ForeignWork() if foreign is None else foreign
        self._max_age_s = settings.snapshot_max_age_s
        self._routing = RoutingState(
            state.v,
            settings.scout_share,
            settings.router,
            money=settings.energy_money,
            bytes_per_s=settings.data_bytes_per_s,
            here=state.name,
        )
        self._failures: dict[str, int] = {}

    @property
    def places_over_limit(self) -> int:
        """Tasks whose data's location did not count, because a batch had too many locations."""
        return self._routing.places_over_limit

    @property
    def ready(self) -> bool:
        """Whether there are a routing table and a policy."""
        return self._state.ready

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        """One decision for each task, in order.

        Raises:
            UnavailableError: there is no snapshot or no policy yet.
        """
        too_old = self._too_old()
        if too_old is not None:
            # A task that a person has approved is not held again.
            approved = [task for task in tasks if task.approved and too_old.route == "hold"]
            going_on = {id(t): d for t, d in zip(approved, self._decide_all(approved), strict=True)} if approved else {}
            return [going_on.get(id(task), too_old) for task in tasks]
        return self._decide_all(tasks)

    def _decide_all(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        state = self._state
        if state.stale_s is not None:
            counter("seedcore_fallbacks_total").add(len(tasks), fallback="old_snapshot")
        self.learn_own()
        waiting = [(agent, kind, n) for (agent, kind), n in self._reports.outstanding.items()]
        state.fleet.report(state.name, waiting + self._foreign.waiting())
        self._routing.v, self._routing.hop_s = state.v, self._hop_s()
        decisions, policy = self._decide(tasks)
        self._count_failures(policy.failures)
        limited = policy.budget_aware
        if limited and any(decision.rule in limited and decision.route == "plan" for decision in decisions):
            decisions = self._within_budget(tasks, decisions, limited)
        for (route, rule), count in Counter((decision.route, decision.rule) for decision in decisions).items():
            if route != "plan" or rule not in limited:
                self._reports.count_decision(route, rule, count)
        return decisions

    def learn_own(self) -> None:
        """Let this worker's own new outcomes count here."""
        for (agent, kind), (count, seconds, good) in self._reports.take_unlearned().items():
            self._state.fleet.learn(agent, kind, count, seconds, good)

    def _decide(self, tasks: Sequence[Lease], spent: int | None = None) -> tuple[list[RouteDecision], Policy]:
        """Decisions, with so many plans of the last minute (None: as far as this worker knows), and the policy."""
        state = self._state
        context = state.context(self._reports.allowance.spent if spent is None else spent)
        decided = decide(_columns(tasks), state.fleet, self._routing, context)
        return _decisions(decided, state.stale_s), context.policy

    def _within_budget(
        self, tasks: Sequence[Lease], decisions: list[RouteDecision], limited: Collection[str]
    ) -> list[RouteDecision]:
        """Let rules that read the budget plan no more than this worker was lent.

        Each plan changes the fact that they read, so what is left after it is decided again. Once the share is used, as
        many tasks wait for the next one as that can be. For the others the budget counts as used up: a stream of
        thousands must not wait for plans that it will not get.
        """

        def planned(n: int) -> bool:
            return found[n].route == "plan" and found[n].rule in limited

        def decide_again(places: Sequence[int], spent: int | None = None) -> None:
            again, _ = self._decide([tasks[n] for n in places], spent) if places else ([], None)
            for n, decision in zip(places, again, strict=True):
                found[n] = decision

        found, reports = list(decisions), self._reports
        left = [n for n in range(len(found)) if planned(n)]
        while left and reports.allowance.left(time.monotonic()):
            first, *rest = left
            reports.count_decision("plan", found[first].rule)
            decide_again(rest)
            left = [n for n in rest if planned(n)]
        waiting = {n for n in left if reports.waits_for_share(tasks[n].id)}
        decide_again([n for n in left if n not in waiting], USED_UP)
        for n in left:
            if planned(n):
                found[n] = found[n]._replace(route=None, rule="plan_share", reason=_NO_SHARE)
        return found

    def _too_old(self) -> RouteDecision | None:
        """What becomes of tasks while the snapshot is older than it may be, unless the policy says to go on."""
        state, age = self._state, self._state.stale_s
        if age is None or age <= self._max_age_s or state.policy is None or state.policy.stale_snapshot == "go_on":
            return None
        reason = f"the snapshot is {age:.0f} s old, and no Coordinator answers"
        route: Literal["hold"] | None = "hold" if state.policy.stale_snapshot == "hold" else None
        return RouteDecision(route, "stale_snapshot", reason, snapshot_age_s=age)

    def _count_failures(self, failures: dict[str, int]) -> None:
        for rule, count in failures.items():
            if (new := count - self._failures.get(rule, 0)) > 0:
                self._reports.count_rule_failure(rule, new)
        if failures or self._failures:
            self._failures = dict(failures)


def _columns(tasks: Sequence[Lease]) -> TaskBatch:
    return TaskBatch(
        type=[task.type for task in tasks],
        domain=[task.domain for task in tasks],
        priority=[task.priority for task in tasks],
        attempt=[task.attempt for task in tasks],
        size=[len(task.params) for task in tasks],
        approved=[task.approved for task in tasks],
        direct=[task.direct for task in tasks],
        data=[data_of(task) for task in tasks],
    )


def _decisions(decided: BatchDecision, stale_s: float | None) -> list[RouteDecision]:
    v, verdicts = decided.v, decided.verdicts
    found = []
    for n, added, failure in zip(decided.verdict, decided.delta_energy, decided.expected_failure, strict=True):
        d = verdicts[n]
        found.append(
            RouteDecision(
                d.route,
                d.rule,
                d.reason,
                d.agent,
                d.host,
                added,
                d.evidence,
                d.expected_s,
                d.timeout_s,
                failure,
                v,
                d.hold_s,
                stale_s,
            )
        )
    return found
