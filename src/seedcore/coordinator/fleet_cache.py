"""Keeps the fleet that decisions use: the Organism's routing table, and what its agents have learned."""

import asyncio
import time
from itertools import islice
from typing import Protocol

from seedcore.decision.fleet_table import Fleet
from seedcore.decision.routing_table import RoutingTable, RoutingTableAnswer
from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.fleet.learned_rates import MAX_AGENTS, rates_of
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

FLEET_TTL_S = 1.0


class RoutingTableSource(Protocol):
    """Serves the routing table: the Organism's client."""

    async def fleet(self, known_epoch: int | None, /) -> RoutingTableAnswer:
        """The routing table, or `{"unchanged": true}` when its epoch is `known_epoch`."""


class FleetCache:
    """The fleet, its routing table at most FLEET_TTL_S old; an older one serves while the Organism restarts.

    Attributes:
        table: the routing table; None: there is none yet.
        merged_types: types whose rates were merged with what agents had learned earlier, until someone takes them.
    """

    def __init__(self, organism: RoutingTableSource, database: Database, changed: asyncio.Event | None = None) -> None:
        self.organism = organism
        self.fleet = Fleet()
        self.table: RoutingTable | None = None
        self.merged_types: set[str] = set()
        self._changed = changed or asyncio.Event()
        self._database = database
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()
        self._merging: asyncio.Task[None] | None = None
        self._log = get_logger("seedcore.coordinator")

    async def get(self) -> Fleet:
        """The fleet.

        Raises:
            UnavailableError: there is no routing table yet.
        """
        if time.monotonic() - self._read_at > FLEET_TTL_S:
            async with self._lock:
                if time.monotonic() - self._read_at > FLEET_TTL_S:
                    await self._refresh()
        return self.fleet

    async def aclose(self) -> None:
        """Stop reading learned rates."""
        if self._merging is not None:
            self._merging.cancel()
            await asyncio.gather(self._merging, return_exceptions=True)

    async def _refresh(self) -> None:
        try:
            answer = await self.organism.fleet(self.fleet.epoch or None)
            self.fleet.update(answer)
            if "unchanged" not in answer:
                self.table = answer
                self._changed.set()
        except SeedCoreError as error:
            if self.fleet.epoch == 0:
                raise UnavailableError(f"No routing table yet: {error.detail}", retry_after_s=1) from error
            counter("seedcore_fallbacks_total").add(1, fallback="old_routing_table")
            self._log.warning("routing table not refreshed", epoch=self.fleet.epoch, reason=error.detail)
        self._read_at = time.monotonic()
        if self.fleet.new_agents and (self._merging is None or self._merging.done()):
            self._merging = asyncio.create_task(self._merge_learned(), name="learned rates")

    async def _merge_learned(self) -> None:
        """Read what new agents had learned, in the background: until then they count as average."""
        try:
            while self.fleet.new_agents:
                agents = list(islice(self.fleet.new_agents, MAX_AGENTS))
                learned = await rates_of(self._database, agents)
                self.fleet.merge_earlier(agents, learned)
                self.merged_types.update(*learned.values())
        except DATABASE_ERRORS as error:
            # The agents stay new: the next refresh tries again.
            self._log.warning("learned rates not read", reason=f"{type(error).__name__}: {error}")
