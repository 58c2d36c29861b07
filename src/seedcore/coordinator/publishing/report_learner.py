"""Learns from reports: of workers, and of dispatchers of the previous release."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from seedcore.coordinator.ledger_writer import LedgerWriter
from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.publishing.published_snapshot import PublishedSnapshot
from seedcore.coordinator.publishing.report_sessions import SILENT_S
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.learned_increments import summed
from seedcore.pricing.learned_json import Learned
from seedcore.schemas.coordinator import Report
from seedcore.schemas.snapshot import WorkerReport

MAX_RULES = 1_000
"""Different `route:rule` that are counted by name; those beyond count as OTHER."""

OTHER = "other"


class ReportLearner:
    """Applies reports to the rates, the ledger, the monitors, the backlog and the counts, and publishes them."""

    def __init__(
        self,
        fleet: Fleet,
        policy: PolicyRuntime,
        ledger: LedgerWriter,
        snapshot: PublishedSnapshot,
        changed: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet, self._policy, self._ledger, self._snapshot = fleet, policy, ledger, snapshot
        self._changed, self._clock = changed, clock
        self._reported_at: dict[str, float] = {}
        self.dropped_reports = 0
        self.decisions: dict[str, int] = {}
        """Tasks by `route:rule`."""

    def learn(self, report: Report, reporter: str, undecided: Iterable[int] = ()) -> None:
        """Learn from a report; `reporter` is the name under which what it learned is published to others."""
        for outcome in report.outcomes:
            self._fleet.learn(
                outcome["agent"], outcome["type"], outcome["count"], outcome["seconds"], outcome["successes"]
            )
        for spent in report.spent:
            self._fleet.money_rates.add(spent["agent"], spent["type"], spent["count"], spent["money"])
        self._snapshot.add_learned(reporter, _increments(report))
        self.dropped_reports += report.dropped
        self._ledger.record(report.energy, self._fleet)
        self._policy.record_report(report.streams, report.unplanned, reporter)
        outstanding = [(item["agent"], item["type"], item["count"]) for item in report.outstanding]
        self._fleet.report(report.asker, outstanding, undecided)
        self._snapshot.parts.set_backlog(report.asker, outstanding)
        self._reported_at[report.asker] = self._clock()
        self._changed.set()

    def expire(self) -> None:
        """Publish that reporters which have been silent for SILENT_S wait for nothing."""
        silent = self._clock() - SILENT_S
        for name in [name for name, at in self._reported_at.items() if at <= silent]:
            del self._reported_at[name]
            self._snapshot.parts.set_backlog(name, [])

    def learn_worker(self, report: WorkerReport, reporter: str) -> None:
        """Learn from a worker's report, which also says what it decided."""
        self.learn(report, reporter)
        self.count_decisions(report.decided)
        self._policy.record_failures(report.rule_failures)

    def count_decisions(self, decided: Mapping[str, int]) -> None:
        """Count tasks by `route:rule`."""
        for key, count in decided.items():
            known = key if key in self.decisions or len(self.decisions) < MAX_RULES else OTHER
            self.decisions[known] = self.decisions.get(known, 0) + count


def _increments(report: Report) -> list[Learned]:
    learned: list[Learned] = [
        {
            "agent": outcome["agent"],
            "type": outcome["type"],
            "count": outcome["count"],
            "seconds": outcome["seconds"],
            "successes": outcome["successes"],
        }
        for outcome in report.outcomes
    ]
    paid: list[Learned] = [
        {
            "agent": spent["agent"],
            "type": spent["type"],
            "count": 0,
            "seconds": 0.0,
            "successes": 0,
            "money": spent["money"],
            "paid": spent["count"],
        }
        for spent in report.spent
    ]
    return summed(learned + paid)
