"""What changes the organism: initialize, shut down, change organs, evolve. Each waits until its change took effect."""

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

from seedcore.errors import NotFoundError, UnavailableError
from seedcore.fleet import quarantine_repository
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.organism.control.reconcile_loop import ReconcileLoop
from seedcore.organism.desired import evolution_repository
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.desired.desired_state_writer import DesiredStateWriter
from seedcore.organism.desired.evolution_repository import EvolutionRow
from seedcore.schemas.organism import EvolveRequest, WorkerNumbers
from seedcore.stores.postgres import Database

EFFECT_TIMEOUT_S = 15.0
"""How long a command waits for its effect: `POST /initialize` for the hosts, `POST /shutdown` for their end."""

ENERGY_POLL_S = 0.25
"""Pause between two reads of an evolution whose energy is being measured."""


class OrganismCommands:
    """Changes the desired state, and waits for the control loop.

    Args:
        database: where the desired state is.
        reconcile_loop: the control loop of this replica.
        writer: writes changes of the desired state.
    """

    def __init__(self, database: Database, reconcile_loop: ReconcileLoop, writer: DesiredStateWriter) -> None:
        self._database, self._loop, self._writer = database, reconcile_loop, writer

    async def initialize(self, organs: Mapping[str, OrganSpec]) -> None:
        """Apply the organs file, and wait until every organ that is to have hosts of its own has them.

        Raises:
            UnavailableError: a host does not come up in time; the control loop goes on trying.
        """
        change = await self._writer.apply(organs)
        view = self._loop.view
        self._loop.wake()
        if not await self._loop.wait_until(lambda: view.complete, change, EFFECT_TIMEOUT_S):
            reasons = "; ".join(view.organ_shortfalls().values()) or "no pass of the control loop has finished"
            raise UnavailableError(f"Not every organ is up yet: {reasons}.", retry_after_s=2)

    async def shutdown(self) -> None:
        """Stop every host, and wait for their end."""
        change = await self._writer.stop()
        self._loop.wake()
        await self._loop.wait_until(lambda: self._loop.view.settled, change, EFFECT_TIMEOUT_S)

    async def set_workers(self, numbers: WorkerNumbers) -> None:
        """Set how many workers there are to be; the control loop makes it so."""
        await self._wait_for(await self._writer.set_workers(numbers))

    async def quarantined(self) -> list[QuarantinedSkill]:
        """The skills that are quarantined now."""
        async with self._database.connection() as connection:
            return await quarantine_repository.active(connection)

    async def release_skill(self, skill: str) -> None:
        """End a skill's quarantine.

        Raises:
            NotFoundError: it is not quarantined.
        """
        async with self._database.connection() as connection:
            if not await quarantine_repository.release(connection, skill):
                raise NotFoundError(f"The skill {skill!r} is not quarantined; GET /organism/quarantine lists those.")
        self._loop.wake()

    async def put_organ(self, organ_id: str, spec: OrganSpec, version: int | None) -> tuple[Organ, bool]:
        """Make `spec` the desired state of an organ; returns it, and whether it is new. Errors: see the writer."""
        result = await self._writer.put(organ_id, spec, version)
        await self._wait_for(result.change)
        return result.organ, result.created

    async def remove_organ(self, organ_id: str, version: int | None) -> None:
        """Remove an organ. Errors: see the writer."""
        await self._wait_for(await self._writer.remove(organ_id, version))

    async def evolve(self, request: EvolveRequest) -> EvolutionRow:
        """Evolve; returns when that has taken effect and was measured, or when its `wait_s` is over."""
        view = self._loop.view
        living = [host.name for host in view.hosts.values() if host.alive]
        result = await self._writer.evolve(request.root, living)
        deadline = time.monotonic() + request.root.wait_s
        await self._wait_for(result.change)
        await self._loop.wait_until(lambda: view.settled, result.change, deadline - time.monotonic())
        while True:
            record = await self._evolution(result.evolution)
            if record.energy_after is not None or time.monotonic() >= deadline:
                return record
            await asyncio.sleep(ENERGY_POLL_S)

    async def undo(self, evolution: UUID) -> EvolutionRow:
        """Undo an evolution. Errors: see the writer."""
        await self._wait_for(await self._writer.undo(evolution))
        return await self._evolution(evolution)

    async def latest_evolutions(self, limit: int) -> list[EvolutionRow]:
        """The last evolutions, newest first."""
        async with self._database.connection() as connection:
            return await evolution_repository.latest(connection, limit)

    async def _evolution(self, evolution: UUID) -> EvolutionRow:
        async with self._database.connection() as connection:
            return await evolution_repository.get(connection, evolution)

    async def _wait_for(self, change: int) -> None:
        """Wait until this replica knows a change: a read after the write finds it."""
        self._loop.wake()
        await self._loop.wait_until(lambda: True, change, EFFECT_TIMEOUT_S)
