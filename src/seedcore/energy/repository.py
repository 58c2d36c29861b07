"""Energy's tables for the service: the weights in force, turns of the flywheel, and the ledger."""

import asyncio
import random
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from seedcore.energy import fleet_facts
from seedcore.energy.calibration import Change, measured_change
from seedcore.energy.fleet_facts import Beside
from seedcore.errors import ConflictError, NotFoundError
from seedcore.fleet import flywheel, ledger_repository
from seedcore.fleet.flywheel import HIGHEST, LOWEST, Turn
from seedcore.pricing.outcome_sums import Sums
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger

FRESH_S = 5.0
LOOK_S = 30.0
"""So often a replica looks whether a turn is due."""


class EnergyStore:
    """Reads and writes what decisions did to the energy, and V."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings, size=2, name="seedcore-energy")
        self._log = get_logger("seedcore.energy")
        self._v: float | None = None
        self._read_at = self._beside_at = float("-inf")
        self._beside = Beside()
        self._owner = uuid4()
        self._failing: str | None = None

    async def aclose(self) -> None:
        """Close connections."""
        await self._database.aclose()

    async def ready(self) -> dict[str, Any]:
        """Whether the database answers."""
        return await self._database.ready()

    async def v(self) -> tuple[float, str]:
        """V in force, and where it is from: `flywheel`, `setting`, or what was known before the database went away."""
        if time.monotonic() - self._read_at > FRESH_S:
            try:
                async with self._database.connection(wait_s=3) as connection:
                    changes = await flywheel.last(connection, 1)
            except DATABASE_ERRORS:
                return (self._settings.energy_v if self._v is None else self._v), "last known: the database is away"
            self._v, self._read_at = (changes[0]["v"] if changes else None), time.monotonic()
        return (self._settings.energy_v, "setting") if self._v is None else (self._v, "flywheel")

    def turning(self) -> dict[str, Any]:
        """Seconds between turns by itself, and why the last try failed."""
        return {"period_s": self._settings.flywheel_s, "failing": self._failing}

    async def beside(self) -> Beside:
        """What PostgreSQL tells of drift and collaboration, at most FRESH_S old; without it, that it is away."""
        if time.monotonic() - self._beside_at > FRESH_S:
            try:
                async with self._database.connection(wait_s=3) as connection:
                    self._beside = await fleet_facts.read(connection)
            except DATABASE_ERRORS:
                why = "the database is away"
                return Beside(absent={"drift": why, "collaboration": why})
            self._beside_at = time.monotonic()
        return self._beside

    async def page(self, scope: str | None, before: int | None, limit: int) -> list[dict[str, Any]]:
        """Entries of the ledger, the newest first."""
        async with self._database.connection() as connection:
            return await ledger_repository.page(connection, scope, before, limit)

    async def by_scope(self, window_s: float) -> tuple[dict[str, Sums], list[dict[str, Any]]]:
        """Sums of the last seconds by scope, and the flywheel's last turns."""
        async with self._database.connection() as connection:
            return await ledger_repository.by_scope(connection, window_s), await flywheel.last(connection, 10)

    async def change(self, at: datetime, window_s: float, scope: str | None) -> Change:
        """What the ledger measured before and after a moment."""
        window = timedelta(seconds=window_s)
        async with self._database.connection() as connection:
            before = await ledger_repository.between(connection, at - window, at, scope)
            after = await ledger_repository.between(connection, at, at + window, scope)
        return measured_change(before, after)

    async def turn(self, outcomes: tuple[int, int] | None) -> tuple[dict[str, Any], str]:
        """Turn the flywheel by (outcomes, failures), or by those that the ledger got since its last turn."""
        async with self._database.transaction() as connection:
            found = await self._turn(connection, outcomes)
        self._read_at = float("-inf")
        return found

    async def turn_for_ever(self) -> None:
        """A turn every period by what the ledger got; of several replicas one makes it. Until it is cancelled."""
        period_s = self._settings.flywheel_s
        while period_s:
            await asyncio.sleep(min(period_s, LOOK_S) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self.turn_when_due(period_s)
                self._failing = None
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one turn, the next is tried; health says it
                self._failing = f"{type(error).__name__}: {error}"
                self._log.warning("the flywheel does not turn", reason=self._failing)

    async def turn_when_due(self, period_s: float) -> dict[str, Any] | None:
        """The turn of this period, when it is due and no other replica's; None: it is not."""
        async with self._database.transaction() as connection:
            if not await flywheel.due(connection, self._owner, period_s):
                return None
            record, _ = await self._turn(connection, None)
        self._read_at = float("-inf")
        self._log.info("the flywheel turned", v=record["v"], before=record["before"], reason=record["reason"])
        return record

    async def _turn(self, connection: Any, outcomes: tuple[int, int] | None) -> tuple[dict[str, Any], str]:
        await flywheel.lock(connection)
        v, since = await self._in_force(connection)
        source = "given" if outcomes is not None else "ledger"
        if outcomes is None:
            now = await connection.fetchval("select now()")
            sums = await ledger_repository.between(connection, since or now - timedelta(days=1), now, None)
            outcomes = sums.outcomes, sums.failures
        turn = flywheel.turned(v, self._settings.energy_v, self._settings.failure_budget, *outcomes)
        if turn.v == v:
            return {"id": None, "v": v, "before": v, "reason": turn.reason}, source
        evidence = {"source": source, "outcomes": outcomes[0], "failures": outcomes[1]}
        return await flywheel.add(connection, turn, v, evidence), source

    async def undo(self, change: int) -> dict[str, Any]:
        """Make V what it was before a turn.

        Raises:
            NotFoundError: there is no such turn.
            ConflictError: a later one has changed V since.
        """
        async with self._database.transaction() as connection:
            await flywheel.lock(connection)
            record = await flywheel.get(connection, change)
            if record is None:
                raise NotFoundError(f"There is no turn {change}; GET /energy/metrics lists the last ones.")
            (newest,) = await flywheel.last(connection, 1)
            if newest["id"] != change:
                raise ConflictError(f"Turn {newest['id']} came after turn {change}: undo that first.")
            turn = Turn(record["before"], f"turn {change} is undone")
            undone = await flywheel.add(connection, turn, record["v"], {"source": "undo"}, change)
        self._read_at = float("-inf")
        return undone

    def bounds(self) -> tuple[float, float]:
        """Between these V stays."""
        return LOWEST * self._settings.energy_v, HIGHEST * self._settings.energy_v

    async def _in_force(self, connection: Any) -> tuple[float, datetime | None]:
        changes = await flywheel.last(connection, 1)
        return (changes[0]["v"], changes[0]["at"]) if changes else (self._settings.energy_v, None)
