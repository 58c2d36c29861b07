"""The table `evolutions`: each evolution with its energy before and after, and what it takes to undo it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypedDict
from uuid import UUID

import asyncpg

from seedcore.errors import NotFoundError
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster
from seedcore.organism.desired.desired_state import Organ
from seedcore.stores.postgres import loads

# Primary key evolutions (id), indexes evolutions_created and evolutions_unmeasured.
_COLUMNS = "id, request, before, after, desired, energy_before, energy_after, created_at, undone_at"
_INSERT = """
insert into seedcore.evolutions (id, request, before, after, agents, desired, energy_before)
values ($1, $2, $3, $4, $5, $6, $7)
"""
_GET = f"select {_COLUMNS} from seedcore.evolutions where id = $1"  # noqa: S608 - a constant of this file
_LIST = f"select {_COLUMNS} from seedcore.evolutions order by created_at desc, id limit $1"  # noqa: S608
_UNDO = "update seedcore.evolutions set undone_at = now() where id = $1 and undone_at is null returning id"
_UNMEASURED = """
select id, agents from seedcore.evolutions
where energy_after is null and undone_at is null and desired <= $1 and created_at > now() - interval '10 minutes'
  and created_at < now() - interval '1 second'
order by created_at limit 10
"""
_MEASURED = "update seedcore.evolutions set energy_after = $2 where id = $1"


class StoredOrgan(TypedDict):
    """An organ in the column `before`, as JSON."""

    spec: dict[str, object]
    roster: dict[str, object]
    removed: bool


class MeasuredEnergy(TypedDict):
    """The columns `energy_before` and `energy_after`: see `schemas.organism.EnergyMeasured`."""

    energy: float
    breakdown: dict[str, float]
    agents: int
    measured_at: str


@dataclass(frozen=True, slots=True)
class EvolutionRow:
    """A stored evolution.

    Attributes:
        request: what was asked for, as JSON.
        before: the organs as they were; None where there was none of that name.
        after: the version of each organ right after it.
        desired: the number of the change that it was.
    """

    id: UUID
    request: dict[str, object]
    before: dict[str, StoredOrgan | None]
    after: dict[str, int]
    desired: int
    energy_before: MeasuredEnergy
    energy_after: MeasuredEnergy | None
    created_at: datetime
    undone_at: datetime | None

    def organs_before(self) -> dict[str, Organ | None]:
        """The organs as they were before it; None where there was none of that name."""
        return {name: None if organ is None else _organ(name, organ) for name, organ in self.before.items()}


class UnmeasuredEvolution(NamedTuple):
    """An evolution whose energy after has not been measured yet, and the agents to measure it from."""

    id: UUID
    agents: list[str]


async def insert(
    connection: asyncpg.Connection,
    evolution: UUID,
    request: Mapping[str, object],
    before: Mapping[str, Organ | None],
    after: Mapping[str, int],
    agents: Sequence[str],
    desired: int,
    energy: MeasuredEnergy,
) -> None:
    """Record an evolution that has just been written."""
    organs_before = {name: None if organ is None else _stored(organ) for name, organ in before.items()}
    values = [json.dumps(value) for value in (request, organs_before, after)]
    await connection.execute(_INSERT, evolution, *values, list(agents), desired, json.dumps(energy))


async def get(connection: asyncpg.Connection, evolution: UUID) -> EvolutionRow:
    """One evolution.

    Raises:
        NotFoundError: there is none of that id.
    """
    row = await connection.fetchrow(_GET, evolution)
    if row is None:
        raise NotFoundError(f"There is no evolution {evolution}; GET /organism/evolve lists them.")
    return _row(row)


async def latest(connection: asyncpg.Connection, limit: int) -> list[EvolutionRow]:
    """The last evolutions, newest first."""
    return [_row(row) for row in await connection.fetch(_LIST, limit)]


async def mark_undone(connection: asyncpg.Connection, evolution: UUID) -> bool:
    """False when it was undone before."""
    return await connection.fetchval(_UNDO, evolution) is not None


async def unmeasured(connection: asyncpg.Connection, desired: int) -> list[UnmeasuredEvolution]:
    """Evolutions up to the change `desired` whose energy after has not been measured."""
    return [UnmeasuredEvolution(*row) for row in await connection.fetch(_UNMEASURED, desired)]


async def save_energy_after(connection: asyncpg.Connection, evolution: UUID, energy: MeasuredEnergy) -> None:
    """Write what was measured after an evolution had taken effect."""
    await connection.execute(_MEASURED, evolution, json.dumps(energy))


def _organ(name: str, stored: StoredOrgan) -> Organ:
    spec, roster = OrganSpec.model_validate(stored["spec"]), Roster.model_validate(stored["roster"])
    return Organ(name, spec, roster, removed=stored["removed"])


def _stored(organ: Organ) -> StoredOrgan:
    spec, roster = organ.spec.model_dump(mode="json"), organ.roster.model_dump(mode="json")
    return StoredOrgan(spec=spec, roster=roster, removed=organ.removed)


def _row(row: asyncpg.Record) -> EvolutionRow:
    decoded = {name: loads(row[name]) for name in ("request", "before", "after", "energy_before", "energy_after")}
    return EvolutionRow(**{**dict(row), **decoded})
