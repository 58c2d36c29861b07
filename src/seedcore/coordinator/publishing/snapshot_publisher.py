"""Publishes the snapshot: answers workers' reports, wakes those that wait when something matters at once."""

import asyncio
import time

from seedcore.coordinator.fleet_cache import FLEET_TTL_S, FleetCache
from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.publishing.plan_budget import Holder
from seedcore.coordinator.publishing.published_parts import CurrentState
from seedcore.coordinator.publishing.published_snapshot import PublishedSnapshot
from seedcore.coordinator.publishing.report_learner import ReportLearner
from seedcore.coordinator.publishing.report_sessions import SILENT_S, ReportSessions
from seedcore.coordinator.publishing.snapshot_keeper import SnapshotKeeper
from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.stream_status import StreamStatus
from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.schemas.snapshot import SnapshotUpdate, StreamStatusJson, WorkerReport
from seedcore.telemetry.logs import get_logger
from seedcore.utils.waiting import wait_for_event

TICK_S = 1.0
"""Longest time until a change that matters little gets a version."""

TAKE_BACK_S = 30.0
"""A superseded Coordinator that workers still report to takes a new generation after this: its successor is gone."""


_HEALTH = {"generation", "version", "superseded", "workers", "failed_saves"}


class SnapshotPublisher:
    """Answers reports with what changed; `changed` is set by whoever changes something that matters at once."""

    def __init__(
        self,
        fleet: FleetCache,
        routing: RoutingState,
        policy: PolicyRuntime,
        learner: ReportLearner,
        snapshot: PublishedSnapshot,
        keeper: SnapshotKeeper,
        changed: asyncio.Event,
    ) -> None:
        self._fleet, self._routing, self._policy, self._learner = fleet, routing, policy, learner
        self._snapshot, self._keeper, self._changed = snapshot, keeper, changed
        self.sessions = ReportSessions()
        self._woken = asyncio.Event()
        self._asked, self._asked_at = asyncio.Event(), float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._log = get_logger("seedcore.coordinator")

    def start(self) -> None:
        """Start publishing in the background."""
        self._tasks = [
            asyncio.create_task(self._run(), name="publish"),
            asyncio.create_task(self._poll_fleet(), name="poll routing table"),
        ]

    async def aclose(self) -> None:
        """Stop publishing, and save the snapshot."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._keeper.aclose()

    async def exchange(self, report: WorkerReport) -> SnapshotUpdate:
        """Hear a report, once; answer with what changed, as soon as something matters or the report's time is over.

        Raises:
            UnavailableError: there is nothing to publish yet, or a later Coordinator has taken over; nothing was heard.
            OverloadedError: too many workers report.
        """
        self._asked_at = time.monotonic()
        self._asked.set()
        await self._require_ready(report)
        holder: Holder = report.asker, report.session
        reporter = f"{report.asker}/{report.session}"
        if self.sessions.hear(report.asker, report.session, report.number):
            self._learner.learn_worker(report, reporter)
            self._policy.budget.report(holder, report.plans, report.plans_wanted)
        self.check()
        if not self._policy.budget.lends_more(holder):
            await self._wait(report)
        return self._snapshot.update(
            self._keeper.generation,
            (report.generation, report.version),
            report.asker,
            reporter,
            self.sessions.heard(report.asker, report.session),
            self._policy.budget.answer(holder),
        )

    def check(self) -> None:
        """Begin a new version when something changed, and wake who waits for it if it matters at once."""
        if self._fleet.table is None or not self._policy.loaded:
            return
        parts, urgent = self._snapshot.parts, self._snapshot.parts.urgent
        types, self._fleet.merged_types = self._fleet.merged_types, set()
        self._snapshot.mark_types(types)
        parts.observe(
            CurrentState(
                self._fleet.table,
                self._policy.published,
                {stream.name: _plain(stream.status) for stream in self._policy.streams.all()},
                self._policy.published_salience,
                self._policy.holds.published(),
                sorted(self._policy.maintenance.recipe_types),
                self._routing.v,
            )
        )
        self._learner.expire()
        if parts.publish() and parts.urgent != urgent:
            self._woken.set()
            self._woken = asyncio.Event()

    async def _require_ready(self, report: WorkerReport) -> None:
        if self._fleet.table is None:
            await self._fleet.get()
        if self._keeper.generation == 0:
            raise UnavailableError("This Coordinator has no generation yet; does PostgreSQL answer?", retry_after_s=1)
        if self._keeper.superseded_at is not None or report.generation > self._keeper.generation:
            raise UnavailableError("A later Coordinator has taken over.", retry_after_s=0.5)
        if not self._policy.loaded:
            raise UnavailableError("Monitors and holds have not been read yet.", retry_after_s=1)

    def _is_current(self, report: WorkerReport) -> bool:
        """Whether the reporter knows everything that matters at once."""
        known = report.generation == self._keeper.generation and self._snapshot.knows(report.version)
        return known and report.version >= self._snapshot.parts.urgent

    async def _wait(self, report: WorkerReport) -> None:
        deadline = time.monotonic() + report.wait_s
        while self._is_current(report) and (left := deadline - time.monotonic()) > 0:
            await wait_for_event(self._woken, left)
        self.check()

    async def _run(self) -> None:
        while True:
            try:
                if self._keeper.generation == 0:
                    await self._keeper.take_generation()
                await wait_for_event(self._changed, TICK_S)
                self._changed.clear()
                self.check()
                self._keeper.save_if_due()
                await self._take_back()
            except Exception as error:  # noqa: BLE001 - the loop must not end
                self._log.error("publishing failed unexpectedly", exc_info=error)
                await asyncio.sleep(TICK_S)

    async def _take_back(self) -> None:
        superseded_at, now = self._keeper.superseded_at, time.monotonic()
        if superseded_at is not None and now - superseded_at > TAKE_BACK_S and now - self._asked_at < SILENT_S:
            await self._keeper.take_generation()

    async def _poll_fleet(self) -> None:
        """Read the routing table again and again while workers report, so that they need not ask for it."""
        while True:
            if time.monotonic() - self._asked_at > SILENT_S:
                self._asked.clear()
                await self._asked.wait()
            try:
                await self._fleet.get()
            except SeedCoreError as error:
                self._log.debug("no routing table yet", reason=error.detail)
            await asyncio.sleep(FLEET_TTL_S)

    def health(self) -> dict[str, object]:
        """The short form of `report`."""
        return {name: value for name, value in self.report().items() if name in _HEALTH}

    def report(self) -> dict[str, object]:
        """Counts since the start, as JSON."""
        return {
            "generation": self._keeper.generation,
            "version": self._snapshot.version,
            "superseded": self._keeper.superseded_at is not None,
            "workers": self.sessions.workers(),
            "reports": dict(self.sessions.counts),
            "updates": dict(self._snapshot.counts),
            "plans": {"spent": self._policy.budget.spent(), "lent": self._policy.budget.lent},
            **self._keeper.counts,
        }


def _plain(status: StreamStatus) -> StreamStatusJson:
    # A named tuple is no JSON value for orjson.
    return status.state, status.evidence, status.work, status.outcome, status.shifted
