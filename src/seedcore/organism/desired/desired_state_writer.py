"""Writes changes of the desired state: one transaction a change, so that all replicas see the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import numpy as np

from seedcore.errors import ConflictError, NotFoundError, PreconditionFailedError
from seedcore.fleet import agent_reads
from seedcore.fleet.agent_reads import AgentWork
from seedcore.fleet.organ_spec import OrganSpec, organ_of_skills
from seedcore.organism.control.host import Host
from seedcore.organism.desired import evolution_repository
from seedcore.organism.desired.desired_state import Organ, apply_file, present
from seedcore.organism.desired.evolution import EvolutionPlan, plan_evolution, undo_evolution
from seedcore.organism.desired.evolution_repository import MeasuredEnergy
from seedcore.organism.desired.repository import count_change, lock_desired, read_organs, set_workers, write_organs
from seedcore.pricing.potential import FleetState, Weights, potential
from seedcore.schemas.organism import Evolution, WorkerNumbers
from seedcore.stores.postgres import Database


class PutResult(NamedTuple):
    """The number of the change, the organ as written, and whether it is a new one."""

    change: int
    organ: Organ
    created: bool


class EvolveResult(NamedTuple):
    """The number of the change, and the id of the evolution."""

    change: int
    evolution: UUID


@dataclass(frozen=True, slots=True)
class DesiredStateWriter:
    """Every change of the desired state. Each method returns the number of the change, to wait for.

    Args:
        database: where it is written.
        declared: the organ that each known skill declares.
        energy_v: seconds² that one expected failure weighs.
    """

    database: Database
    declared: Mapping[str, str]
    energy_v: float

    async def apply(self, file: Mapping[str, OrganSpec]) -> int:
        """Apply the organs file, and let the organism run; `desired_state.apply_file` says which changes win.

        Raises:
            InvalidInputError: a skill is unknown, or claimed twice; nothing is changed.
        """
        async with self.database.transaction() as connection:
            desired, stopped = await lock_desired(connection)
            organs = await read_organs(connection)
            changed = apply_file(organs, file)
            if stopped or changed:
                desired = await self._write(connection, organs, changed, stopped=False)
            return desired

    async def stop(self) -> int:
        """Stop every host, until `apply`."""
        async with self.database.transaction() as connection:
            desired, stopped = await lock_desired(connection)
            return desired if stopped else await count_change(connection, stopped=True)

    async def set_workers(self, workers: WorkerNumbers) -> int:
        """Set how many workers there are to be."""
        async with self.database.transaction() as connection:
            return await set_workers(connection, workers)

    async def put(self, name: str, spec: OrganSpec, version: int | None) -> PutResult:
        """Make `spec` the desired state of an organ.

        Args:
            name: the organ's id.
            spec: its whole desired state.
            version: the version that it must have now; None: any, or none.

        Raises:
            PreconditionFailedError: it has another version.
            InvalidInputError: a skill is unknown, or claimed twice.
        """
        async with self.database.transaction() as connection:
            _, stopped = await lock_desired(connection)
            organs = await read_organs(connection)
            known = organs.get(name)
            _check_version(name, present(organs).get(name), version)
            changed = Organ(name, spec) if known is None else known.changed(spec)
            desired = await self._write(connection, organs, [changed], stopped=stopped)
            return PutResult(desired, changed, known is None or known.removed)

    async def remove(self, name: str, version: int | None) -> int:
        """Remove an organ.

        Raises:
            NotFoundError: it does not exist.
            PreconditionFailedError: it has another version.
            ConflictError: skills run there, and would be left without an agent.
        """
        async with self.database.transaction() as connection:
            _, stopped = await lock_desired(connection)
            organs = await read_organs(connection)
            organ = present(organs).get(name)
            if organ is None:
                raise NotFoundError(f"There is no organ {name!r}. Known: {', '.join(present(organs)) or 'none'}.")
            _check_version(name, organ, version)
            runs = sorted(skill for skill, home in self._skills(organs).items() if home == name)
            if runs:
                raise ConflictError(
                    f"{', '.join(runs)} would be left without an agent: give them to another organ first "
                    f"(its `skills`), or merge {name!r} into it."
                )
            return await self._write(connection, organs, [organ.changed(removed=True)], stopped=stopped)

    async def evolve(self, request: Evolution, hosts: Iterable[str]) -> EvolveResult:
        """Evolve, and record it with the energy measured just before.

        Raises:
            NotFoundError, InvalidInputError, ConflictError: see `evolution.plan_evolution`.
        """
        async with self.database.transaction() as connection:
            _, stopped = await lock_desired(connection)
            organs = await read_organs(connection)
            plan = plan_evolution(organs, self._skills(organs), self.declared, request)
            energy = await self._measure(connection, plan.before, hosts)
            desired = await self._write(connection, organs, plan.organs, stopped=stopped)
            await agent_reads.clone(connection, plan.clones)
            evolution = uuid4()
            asked = request.model_dump(mode="json", exclude={"wait_s"}, exclude_none=True)
            before, after = _before_and_after(organs, plan)
            await evolution_repository.insert(connection, evolution, asked, before, after, plan.after, desired, energy)
            return EvolveResult(desired, evolution)

    async def undo(self, evolution: UUID) -> int:
        """Restore the organs as they were before an evolution.

        Raises:
            NotFoundError: it does not exist.
            ConflictError: it was undone, or one of its organs has been changed since.
        """
        async with self.database.transaction() as connection:
            _, stopped = await lock_desired(connection)
            record = await evolution_repository.get(connection, evolution)
            if not await evolution_repository.mark_undone(connection, evolution):
                at = "" if record.undone_at is None else f", at {record.undone_at.isoformat()}"
                raise ConflictError(f"Evolution {evolution} has been undone already{at}.")
            organs = await read_organs(connection)
            restored = undo_evolution(organs, record.organs_before(), record.after)
            return await self._write(connection, organs, restored, stopped=stopped)

    async def measure_settled(self, desired: int, hosts: Mapping[str, Host]) -> None:
        """Measure the energy after the evolutions that have taken effect with the change `desired`."""
        async with self.database.connection() as connection:
            for evolution, agents in await evolution_repository.unmeasured(connection, desired):
                energy = await self._measure(connection, agents, hosts)
                await evolution_repository.save_energy_after(connection, evolution, energy)

    async def _measure(
        self, connection: asyncpg.Connection, agents: Iterable[str], hosts: Iterable[str]
    ) -> MeasuredEnergy:
        """Energy of what `agents` have in hand now, as living hosts reported it; expected failures are estimated from
        the failures that the agents have had so far."""
        work = await agent_reads.work_of(connection, agents, hosts)
        queued = np.array([own.queued_s for own in work], dtype=np.float64)
        failures = np.array([_expected_failures(own) for own in work], dtype=np.float64)
        measured = potential(FleetState(queued, failures), Weights(v=self.energy_v))
        return MeasuredEnergy(
            energy=measured.energy,
            breakdown=measured.breakdown,
            agents=len(work),
            measured_at=datetime.now(UTC).isoformat(),
        )

    async def _write(
        self,
        connection: asyncpg.Connection,
        organs: Mapping[str, Organ],
        changed: Sequence[Organ],
        *,
        stopped: bool,
    ) -> int:
        self._skills({**organs, **{organ.id: organ for organ in changed}})
        if changed:
            await write_organs(connection, changed)
        return await count_change(connection, stopped=stopped)

    def _skills(self, organs: Mapping[str, Organ]) -> dict[str, str]:
        """The organ of each skill; raises when organs claim unknown skills, or the same one twice."""
        return organ_of_skills({name: organ.spec for name, organ in present(organs).items()}, self.declared)


def _expected_failures(work: AgentWork) -> float:
    return work.running * work.failed / max(1, work.completed + work.failed)


def _check_version(name: str, organ: Organ | None, version: int | None) -> None:
    now = 0 if organ is None else organ.version
    if version is not None and version != now:
        is_now = f"has version {now}" if now else "does not exist"
        raise PreconditionFailedError(
            f"Organ {name!r} {is_now}, but If-Match names version {version}: read it again, then change it."
        )


def _before_and_after(
    organs: Mapping[str, Organ], plan: EvolutionPlan
) -> tuple[dict[str, Organ | None], dict[str, int]]:
    before = {organ.id: present(organs).get(organ.id) for organ in plan.organs}
    return before, {organ.id: organ.version for organ in plan.organs}
