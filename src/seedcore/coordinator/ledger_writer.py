"""The Coordinator's part of the energy ledger: what dispatchers tell is written in batches, beside the decisions."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

from seedcore.decision.agent_selection import Choices
from seedcore.decision.fleet_table import Fleet
from seedcore.fleet import flywheel, ledger_repository
from seedcore.pricing.outcome_sums import Sums
from seedcore.schemas.coordinator import EnergyTold
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger

WRITE_S = 5.0
FORGET_S = 600.0
MOST_SCOPES = 10_000
"""Scopes that are kept in memory while the database is away; further ones are counted as lost."""


class EnergyBook:
    """Sums by scope until they are written; and `choices.v`, kept at what the flywheel last made of it."""

    def __init__(self, database: Database, choices: Choices, settings: Settings) -> None:
        self._database, self._choices, self._settings = database, choices, settings
        self._sums: dict[str, Sums] = {}
        self._at = self._forgot_at = time.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self.counts = {"entries": 0, "lost_outcomes": 0, "failed_writes": 0}

    def take(self, told: Iterable[EnergyTold], fleet: Fleet) -> None:
        """Take in what a dispatcher tells; begins a write when it is time."""
        for one in told:
            scope = f"{fleet.organ_of(one.type) or '-'}/{one.type}"
            sums = self._sums.get(scope)
            if sums is None:
                if len(self._sums) >= MOST_SCOPES:
                    self.counts["lost_outcomes"] += one.outcomes
                    continue
                sums = self._sums[scope] = Sums()
            sums.join(Sums(**one.model_dump(exclude={"type"})))
        due = time.monotonic() - self._at > WRITE_S
        if due and (self._writing is None or self._writing.done()):
            self._at = time.monotonic()
            self._writing = asyncio.create_task(self.write(), name="energy ledger")

    async def write(self) -> None:
        """Append what there is, read the weights, and let go what retention does not keep."""
        sums, self._sums = self._sums, {}
        entries = [
            ledger_repository.Entry(scope, self._choices.router, self._choices.v, one) for scope, one in sums.items()
        ]
        try:
            async with self._database.connection() as connection:
                if entries:
                    await ledger_repository.append(connection, entries)
                    sums = {}
                    self.counts["entries"] += len(entries)
                changes = await flywheel.last(connection, 1)
                self._choices.v = changes[0]["v"] if changes else self._settings.energy_v
                if time.monotonic() - self._forgot_at > FORGET_S:
                    self._forgot_at = time.monotonic()
                    await ledger_repository.forget(connection, self._settings.retention_finished_d * 86_400)
        except DATABASE_ERRORS as error:
            self.counts["failed_writes"] += 1
            get_logger("seedcore.coordinator").warning("energy ledger not written", reason=f"{type(error).__name__}")
            for scope, one in sums.items():
                self._sums.setdefault(scope, Sums()).join(one)

    async def aclose(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self.write()
