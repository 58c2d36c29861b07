"""Writes the energy ledger: what workers report is summed by scope and written in batches."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.fleet_table import Fleet
from seedcore.fleet import flywheel, ledger_repository
from seedcore.fleet.ledger_repository import LedgerEntry
from seedcore.pricing.outcome_sums import Sums
from seedcore.schemas.coordinator import EnergyReport
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger

WRITE_S = 5.0
EXPIRE_S = 600.0
MAX_SCOPES = 10_000
"""Scopes that are kept in memory while the database is away; outcomes of further ones are counted as lost."""


class LedgerWriter:
    """Sums by scope until they are written; keeps `routing.v` at the value of the flywheel."""

    def __init__(
        self, database: Database, routing: RoutingState, settings: Settings, changed: asyncio.Event | None = None
    ) -> None:
        self._database, self._routing, self._settings = database, routing, settings
        self._changed = changed or asyncio.Event()
        self._sums: dict[str, Sums] = {}
        self._written_at = self._expired_at = time.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self.counts = {"entries": 0, "lost_outcomes": 0, "failed_writes": 0}

    def record(self, reports: Iterable[EnergyReport], fleet: Fleet) -> None:
        """Add what a worker reports; starts a write when one is due."""
        for report in reports:
            scope = f"{fleet.organ_of(report['type']) or '-'}/{report['type']}"
            sums = self._sums.get(scope)
            if sums is None:
                if len(self._sums) >= MAX_SCOPES:
                    self.counts["lost_outcomes"] += report["outcomes"]
                    continue
                sums = self._sums[scope] = Sums()
            sums.join(_sums(report))
        due = time.monotonic() - self._written_at > WRITE_S
        if due and (self._writing is None or self._writing.done()):
            self._written_at = time.monotonic()
            self._writing = asyncio.create_task(self.write(), name="energy ledger")

    async def write(self) -> None:
        """Append the sums, read V, and delete expired entries."""
        pending, self._sums = self._sums, {}
        entries = [LedgerEntry(scope, self._routing.router, self._routing.v, sums) for scope, sums in pending.items()]
        try:
            async with self._database.connection() as connection:
                if entries:
                    await ledger_repository.append(connection, entries)
                    pending = {}
                    self.counts["entries"] += len(entries)
                changes = await flywheel.last(connection, 1)
                v = changes[0]["v"] if changes else self._settings.energy_v
                if v != self._routing.v:
                    self._routing.v = v
                    self._changed.set()
                if time.monotonic() - self._expired_at > EXPIRE_S:
                    self._expired_at = time.monotonic()
                    await ledger_repository.delete_expired(connection, self._settings.retention_finished_d * 86_400)
        except DATABASE_ERRORS as error:
            self.counts["failed_writes"] += 1
            get_logger("seedcore.coordinator").warning("energy ledger not written", reason=f"{type(error).__name__}")
            for scope, sums in pending.items():
                self._sums.setdefault(scope, Sums()).join(sums)

    async def aclose(self) -> None:
        """Write the remaining sums."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self.write()


def _sums(report: EnergyReport) -> Sums:
    return Sums(
        report["outcomes"],
        report["expected_s"],
        report["realised_s"],
        report["expected_failures"],
        report["failures"],
        report["expected_delta"],
        report["realised_delta"],
        report["realised_squares"],
        report["squared_error"],
        report.get("tokens", 0.0),
        report.get("money", 0.0),
    )
