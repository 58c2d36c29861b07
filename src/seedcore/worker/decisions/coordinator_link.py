"""Keeps a worker's snapshot fresh: reports to the Coordinator and adopts its answers, beside the tasks' path."""

import asyncio
import random
import time
from typing import Protocol
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from seedcore.errors import SeedCoreError
from seedcore.schemas.snapshot import SnapshotUpdate, StoredSnapshotJson, WorkerReportJson
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.telemetry.metrics import counter
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState

BUSY_WAIT_S, IDLE_WAIT_S = 0.5, 1.0
"""Longest wait for a change, and so the interval of reports, while tasks come and while none do."""

MIN_INTERVAL_S = 0.1
"""Exchanges follow one another no faster than this, whatever changes."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
"""Pauses between attempts while no Coordinator answers."""


class ControlPlane(Protocol):
    """The Coordinator, and the last snapshot that it kept."""

    async def exchange(self, report: WorkerReportJson) -> SnapshotUpdate:
        """Report, and get what has changed.

        Raises:
            SeedCoreError: `transient` when no Coordinator answers; else it refuses the report.
        """

    async def stored(self) -> tuple[StoredSnapshotJson, float] | None:
        """The snapshot in the database, and its age in seconds; None: there is none that can be read."""


class CoordinatorLink:
    """The loop of exchanges of one worker.

    Attributes:
        failing: why no Coordinator answers; None while one does.
    """

    def __init__(
        self,
        plane: ControlPlane,
        state: SnapshotState,
        reports: ReportCollector,
        decider: LocalDecider,
        log: FilteringBoundLogger,
    ) -> None:
        self._plane, self._state, self._reports, self._decider, self._log = plane, state, reports, decider, log
        self._session = str(uuid4())
        self._pause_s = FIRST_PAUSE_S
        self.failing: str | None = None
        self.failures = 0

    async def run(self) -> None:
        """Exchange until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.exchange()
            pause_s = began + MIN_INTERVAL_S - loop.time()
            if self.failing is not None:
                pause_s = self._pause_s * (0.5 + random.random() / 2)  # noqa: S311 - jitter
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            if pause_s > 0:
                await asyncio.sleep(pause_s)

    async def exchange(self) -> None:
        """One exchange; while no Coordinator answers and nothing is known, the database is asked."""
        state, reports = self._state, self._reports
        # The first answer is wanted at once.
        wait_s = 0.0 if state.source != "coordinator" else BUSY_WAIT_S if reports.busy else IDLE_WAIT_S
        report = reports.take(state.name, self._session, (state.generation, state.version), wait_s)
        sent_at = time.monotonic()
        try:
            update = await self._plane.exchange(report)
        except SeedCoreError as error:
            await self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker goes on with what it knows
            await self._failed(error)
        else:
            self._adopt(update, report["number"], sent_at)

    def _adopt(self, update: SnapshotUpdate, number: int, sent_at: float) -> None:
        self._reports.heard(update["heard"])
        # What rates that come whole replace must have been learned here before: then it is learned again, once.
        self._decider.learn_own()
        if not self._state.apply(update, self._reports.unheard()):
            self._log.warning("answer of another Coordinator ignored", generation=update["generation"])
        elif update["heard"] >= number:
            self._reports.allowance.answered(update["plans"]["spent"], update["plans"]["lent"], sent_at)
        if self.failing is not None:
            self._log.info("a Coordinator answers again", failures=self.failures)
        self.failing, self._pause_s = None, FIRST_PAUSE_S

    async def _failed(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, SeedCoreError) and not error.transient and error.status == 422:
            self._log.error("the Coordinator refuses a report, dropping it", reason=reason)
            self._reports.refused()
        if self.failing is None:
            self._log.warning("no Coordinator answers, going on with what is known", reason=reason)
        self.failing, self.failures = reason[:300], self.failures + 1
        if self._state.source is None:
            await self._load()

    async def _load(self) -> None:
        try:
            stored = await self._plane.stored()
        except DATABASE_ERRORS as error:
            self._log.warning("stored snapshot not read", reason=f"{type(error).__name__}: {error}")
            return
        if stored is not None and self._state.load(*stored):
            counter("seedcore_fallbacks_total").add(1, fallback="stored_snapshot")
            self._log.warning("deciding with the snapshot in the database", age_s=round(stored[1], 1))
