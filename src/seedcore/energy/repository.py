"""Gives the service V in force, turns of the flywheel, the ledger, and the stored facts of the fleet."""

import asyncio
import random
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict
from uuid import uuid4

import asyncpg
from pydantic import JsonValue

from seedcore.energy.fleet_facts import FleetFacts, read_fleet_facts
from seedcore.energy.ledger_calibration import EnergyChange, measured_change
from seedcore.errors import ConflictError, NotFoundError
from seedcore.fleet import flywheel, ledger_repository
from seedcore.fleet.flywheel import MAX_FACTOR, MIN_FACTOR, FlywheelTurn, WeightChange
from seedcore.pricing.outcome_sums import Sums
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.monitoring.task_lookup import SpentSums, spent
from seedcore.telemetry.logs import get_logger

CACHE_S = 5.0
MAX_TASKS = 50_000
"""Ended tasks that are looked at on each side of a moment: the newest, of all types."""
CHECK_S = 30.0
"""How often a replica checks whether a turn of the flywheel is due."""


class TurnResult(TypedDict):
    """What a turn did; `id` is None when V stayed the same."""

    id: int | None
    v: float
    before: float
    reason: str


class FlywheelStatus(TypedDict):
    """Seconds between automatic turns (0: none), and why the last try failed."""

    period_s: float
    failing: str | None


class EnergyRepository:
    """Reads the ledger and facts of the fleet; reads and changes V."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = Database(settings, size=2, name="seedcore-energy")
        self._log = get_logger("seedcore.energy")
        self._v: float | None = None
        self._read_at = self._facts_at = float("-inf")
        self._facts = FleetFacts()
        self._owner = uuid4()
        self._failing: str | None = None

    async def aclose(self) -> None:
        """Close connections."""
        await self.database.aclose()

    async def ready(self) -> Mapping[str, object]:
        """Whether the database answers."""
        return await self.database.ready()

    async def v(self) -> tuple[float, str]:
        """V in force and its source: `flywheel`, `setting`, or the last known value while the database is away."""
        if time.monotonic() - self._read_at > CACHE_S:
            try:
                async with self.database.connection(wait_s=3) as connection:
                    changes = await flywheel.last(connection, 1)
            except DATABASE_ERRORS:
                return (self._settings.energy_v if self._v is None else self._v), "last known: the database is away"
            self._v, self._read_at = (changes[0]["v"] if changes else None), time.monotonic()
        return (self._settings.energy_v, "setting") if self._v is None else (self._v, "flywheel")

    def flywheel_status(self) -> FlywheelStatus:
        """The state of the automatic turns."""
        return {"period_s": self._settings.flywheel_s, "failing": self._failing}

    async def fleet_facts(self) -> FleetFacts:
        """Facts of drift and collaboration, at most CACHE_S old; absent while the database is away."""
        if time.monotonic() - self._facts_at > CACHE_S:
            try:
                async with self.database.connection(wait_s=3) as connection:
                    self._facts = await read_fleet_facts(connection)
            except DATABASE_ERRORS:
                reason = "the database is away"
                return FleetFacts(absent={"drift": reason, "collaboration": reason})
            self._facts_at = time.monotonic()
        return self._facts

    async def page(self, scope: str | None, before: int | None, limit: int) -> list[dict[str, object]]:
        """Entries of the ledger, the newest first."""
        async with self.database.connection() as connection:
            return await ledger_repository.page(connection, scope, before, limit)

    async def by_scope(self, window_s: float) -> tuple[dict[str, Sums], list[WeightChange]]:
        """Sums of the last `window_s` seconds by scope, and the flywheel's last turns."""
        async with self.database.connection() as connection:
            return await ledger_repository.by_scope(connection, window_s), await flywheel.last(connection, 10)

    async def change(
        self, at: datetime, window_s: float, scope: str | None, type_: str | None, domain: str | None
    ) -> tuple[EnergyChange, SpentSums, SpentSums]:
        """The change that the ledger measured between before and after a moment, and what ended tasks took on each
        side. With a domain the ledger, which knows none, says nothing."""
        window = timedelta(seconds=window_s)
        async with self.database.connection() as connection:
            if domain is None:
                before = await ledger_repository.between(connection, at - window, at, scope, type_)
                after = await ledger_repository.between(connection, at, at + window, scope, type_)
            else:
                before, after = Sums(), Sums()
            sides = [
                await spent(connection, since, since + window, type_, domain, MAX_TASKS) for since in (at - window, at)
            ]
        return measured_change(before, after), sides[0], sides[1]

    async def turn(self, outcomes: tuple[int, int] | None) -> tuple[TurnResult, str]:
        """Turn the flywheel by (outcomes, failures), or by those in the ledger since its last turn; also the source."""
        async with self.database.transaction() as connection:
            found = await self._turn(connection, outcomes)
        self._read_at = float("-inf")
        return found

    async def run_flywheel(self) -> None:
        """Turn the flywheel once a period by the ledger, in one of the replicas, until cancelled."""
        period_s = self._settings.flywheel_s
        while period_s:
            await asyncio.sleep(min(period_s, CHECK_S) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self.turn_when_due(period_s)
                self._failing = None
            except Exception as error:  # noqa: BLE001 - the loop must not end; health reports it
                self._failing = f"{type(error).__name__}: {error}"
                self._log.warning("flywheel turn failed", reason=self._failing)

    async def turn_when_due(self, period_s: float) -> TurnResult | None:
        """Make the turn of this period; None: it is not due, or another replica has it."""
        async with self.database.transaction() as connection:
            if not await flywheel.claim_turn(connection, self._owner, period_s):
                return None
            result, _ = await self._turn(connection, None)
        self._read_at = float("-inf")
        self._log.info("flywheel turned", v=result["v"], before=result["before"], reason=result["reason"])
        return result

    async def _turn(self, connection: asyncpg.Connection, outcomes: tuple[int, int] | None) -> tuple[TurnResult, str]:
        await flywheel.lock(connection)
        v, since = await self._in_force(connection)
        source = "given" if outcomes is not None else "ledger"
        if outcomes is None:
            now = await connection.fetchval("select now()")
            sums = await ledger_repository.between(connection, since or now - timedelta(days=1), now, None)
            outcomes = sums.outcomes, sums.failures
        turn = flywheel.next_turn(v, self._settings.energy_v, self._settings.failure_budget, *outcomes)
        if turn.v == v:
            return {"id": None, "v": v, "before": v, "reason": turn.reason}, source
        evidence: dict[str, JsonValue] = {"source": source, "outcomes": outcomes[0], "failures": outcomes[1]}
        return _result(await flywheel.add(connection, turn, v, evidence)), source

    async def undo(self, change: int) -> TurnResult:
        """Undo a turn: V becomes what it was before.

        Raises:
            NotFoundError: there is no such turn.
            ConflictError: a later one has changed V since.
        """
        async with self.database.transaction() as connection:
            await flywheel.lock(connection)
            record = await flywheel.get(connection, change)
            if record is None:
                raise NotFoundError(f"There is no turn {change}; GET /energy/metrics lists the last ones.")
            (newest,) = await flywheel.last(connection, 1)
            if newest["id"] != change:
                raise ConflictError(f"Turn {newest['id']} came after turn {change}: undo that first.")
            turn = FlywheelTurn(record["before"], f"turn {change} is undone")
            undone = await flywheel.add(connection, turn, record["v"], {"source": "undo"}, change)
        self._read_at = float("-inf")
        return _result(undone)

    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest V."""
        return MIN_FACTOR * self._settings.energy_v, MAX_FACTOR * self._settings.energy_v

    async def _in_force(self, connection: asyncpg.Connection) -> tuple[float, datetime | None]:
        changes = await flywheel.last(connection, 1)
        return (changes[0]["v"], changes[0]["at"]) if changes else (self._settings.energy_v, None)


def _result(change: WeightChange) -> TurnResult:
    return {"id": change["id"], "v": change["v"], "before": change["before"], "reason": change["reason"]}
