"""Changing what is wanted: one transaction a change, so that all replicas see the same. Evolutions are measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np

from seedcore.errors import ConflictError, NotFoundError, PreconditionFailedError
from seedcore.fleet.organ_spec import OrganSpec, organ_of_skills
from seedcore.organism.control.host import Host
from seedcore.organism.desired import evolution_repository
from seedcore.organism.desired.desired_state import Organ, apply_file, present
from seedcore.organism.desired.evolution import Change, evolve, undone
from seedcore.organism.desired.repository import count_change, lock_desired, read_organs, write_organs
from seedcore.pricing.potential import FleetState, Weights, potential
from seedcore.schemas.organism import Evolution
from seedcore.stores.postgres import Database


@dataclass(frozen=True, slots=True)
class Changes:
    """All that changes what is wanted. Every method returns the number of the change, to wait for.

    Args:
        database: where it is written.
        declared: the organ that each known skill declares.
        energy_v: seconds² that one expected failure weighs.
    """

    database: Database
    declared: Mapping[str, str]
    energy_v: float

    async def apply(self, wanted: Mapping[str, OrganSpec]) -> int:
        """Apply the organs file, and let the organism run; see `desired.apply_file` for who wins.

        Raises:
            InvalidInputError: a skill is unknown, or claimed twice; nothing is changed.
        """
        async with self.database.transaction() as connection:
            desired, stopped = await lock_desired(connection)
            organs = await read_organs(connection)
            changed = apply_file(organs, wanted)
            if stopped or changed:
                desired = await self._write(connection, organs, changed, stopped=False)
            return desired

    async def stop(self) -> int:
        """Want no host any more, until `apply`."""
        async with self.database.transaction() as connection:
            desired, stopped = await lock_desired(connection)
            return desired if stopped else await count_change(connection, stopped=True)

    async def put(self, name: str, spec: OrganSpec, version: int | None) -> tuple[int, Organ, bool]:
        """Make `spec` what is wanted of an organ; whether it is a new one, too.

        Args:
            name: the organ's id.
            spec: all of what it ought to be.
            version: what it must be now; None: any, or none.

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
            return desired, changed, known is None or known.removed

    async def remove(self, name: str, version: int | None) -> int:
        """Want an organ no more.

        Raises:
            NotFoundError: there is none.
            PreconditionFailedError: it has another version.
            ConflictError: skills run there, which would be left without an agent.
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

    async def evolve(self, do: Evolution, hosts: Iterable[str]) -> tuple[int, UUID]:
        """Do it, and record it with the energy measured just before.

        Raises:
            NotFoundError, InvalidInputError, ConflictError: see `evolve.evolve`.
        """
        async with self.database.transaction() as connection:
            _, stopped = await lock_desired(connection)
            organs = await read_organs(connection)
            change = evolve(organs, self._skills(organs), self.declared, do)
            energy = await self._measure(connection, change.before, hosts)
            desired = await self._write(connection, organs, change.organs, stopped=stopped)
            await evolution_repository.clone(connection, change.clones)
            evolution = uuid4()
            request = do.model_dump(mode="json", exclude={"wait_s"}, exclude_none=True)
            before, after = _around(organs, change)
            await evolution_repository.insert(
                connection, evolution, request, before, after, change.after, desired, energy
            )
            return desired, evolution

    async def undo(self, evolution: UUID) -> int:
        """Make the organs what they were before an evolution.

        Raises:
            NotFoundError: there is no such evolution.
            ConflictError: it was undone, or one of its organs has been changed since.
        """
        async with self.database.transaction() as connection:
            _, stopped = await lock_desired(connection)
            record = await evolution_repository.get(connection, evolution)
            if record is None:
                raise NotFoundError(f"There is no evolution {evolution}; GET /organism/evolve lists them.")
            if not await evolution_repository.mark_undone(connection, evolution):
                raise ConflictError(f"Evolution {evolution} has been undone, at {record['undone_at'].isoformat()}.")
            organs = await read_organs(connection)
            before = {name: evolution_repository.organ_of(name, stored) for name, stored in record["before"].items()}
            return await self._write(connection, organs, undone(organs, before, record["after"]), stopped=stopped)

    async def measure_settled(self, desired: int, hosts: Mapping[str, Host]) -> None:
        """Measure the energy after those evolutions that have taken effect by the change `desired`."""
        async with self.database.connection() as connection:
            for evolution, agents in await evolution_repository.unmeasured(connection, desired):
                energy = await self._measure(connection, agents, hosts)
                await evolution_repository.save_energy(connection, evolution, energy)

    async def _measure(
        self, connection: asyncpg.Connection, agents: Iterable[str], hosts: Iterable[str]
    ) -> dict[str, Any]:
        """Energy of what `agents` have in hand now, as living hosts told; expected failures are those that the agents
        have had so far."""
        work = await evolution_repository.work_of(connection, agents, hosts)
        queued = np.array([seconds for seconds, *_ in work], dtype=np.float64)
        failures = np.array([n * failed / max(1, good + failed) for _, n, good, failed in work], dtype=np.float64)
        measured = potential(FleetState(queued, failures), Weights(v=self.energy_v))
        return {
            "energy": measured.energy,
            "breakdown": measured.breakdown,
            "agents": len(work),
            "measured_at": datetime.now(UTC).isoformat(),
        }

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
        """The organ of each skill; raises when organs claim what they cannot have."""
        return organ_of_skills({name: organ.spec for name, organ in present(organs).items()}, self.declared)


def _check_version(name: str, organ: Organ | None, version: int | None) -> None:
    now = 0 if organ is None else organ.version
    if version is not None and version != now:
        is_now = f"has version {now}" if now else "does not exist"
        raise PreconditionFailedError(
            f"Organ {name!r} {is_now}, If-Match says {version}: read it again, then change it."
        )


def _around(organs: Mapping[str, Organ], change: Change) -> tuple[dict[str, Organ | None], dict[str, int]]:
    before = {organ.id: present(organs).get(organ.id) for organ in change.organs}
    return before, {organ.id: organ.version for organ in change.organs}
