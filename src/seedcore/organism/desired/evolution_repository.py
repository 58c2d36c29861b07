"""What evolved, in PostgreSQL: each change with its energy before and after, and what it takes to undo it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster
from seedcore.organism.desired.desired_state import Organ
from seedcore.stores.postgres import loads

# Primary key evolutions (id), indexes evolutions_created and evolutions_unmeasured; agents by primary key.
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
_CLONE = """
insert into seedcore.agents (id, organ, host, rates, lifecycle, standing, roles, role_counts)
select c.id, a.organ, '', a.rates, a.lifecycle, a.standing, a.roles, a.role_counts
from unnest($1::text[], $2::text[]) as c(id, original) join seedcore.agents a on a.id = c.original
on conflict (id) do nothing
"""
_WORK = """
select queued_s, running, completed, failed from seedcore.agents where id = any($1::text[]) and host = any($2::text[])
"""


async def insert(
    connection: asyncpg.Connection,
    evolution: UUID,
    request: Mapping[str, Any],
    before: Mapping[str, Organ | None],
    after: Mapping[str, int],
    agents: Sequence[str],
    desired: int,
    energy: Mapping[str, Any],
) -> None:
    """Record a change that has just been made."""
    was = {name: None if organ is None else _organ_json(organ) for name, organ in before.items()}
    values = [json.dumps(value) for value in (request, was, after)]
    await connection.execute(_INSERT, evolution, *values, list(agents), desired, json.dumps(energy))


async def get(connection: asyncpg.Connection, evolution: UUID) -> dict[str, Any] | None:
    """One change."""
    row = await connection.fetchrow(_GET, evolution)
    return None if row is None else _record(row)


async def latest(connection: asyncpg.Connection, limit: int) -> list[dict[str, Any]]:
    """The last changes, the newest first."""
    return [_record(row) for row in await connection.fetch(_LIST, limit)]


async def mark_undone(connection: asyncpg.Connection, evolution: UUID) -> bool:
    """False when it was undone before."""
    return await connection.fetchval(_UNDO, evolution) is not None


async def unmeasured(connection: asyncpg.Connection, desired: int) -> list[tuple[UUID, list[str]]]:
    """Changes up to `desired` whose energy after has not been measured: their ids and agents."""
    return [(row["id"], row["agents"]) for row in await connection.fetch(_UNMEASURED, desired)]


async def save_energy(connection: asyncpg.Connection, evolution: UUID, energy: Mapping[str, Any]) -> None:
    """What was measured after a change had taken effect."""
    await connection.execute(_MEASURED, evolution, json.dumps(energy))


async def clone(connection: asyncpg.Connection, clones: Mapping[str, str]) -> None:
    """New agents start with what the originals have learned; their counters start at 0."""
    await connection.execute(_CLONE, list(clones), list(clones.values()))


async def work_of(
    connection: asyncpg.Connection, agents: Iterable[str], hosts: Iterable[str]
) -> list[tuple[float, int, int, int]]:
    """Work of those of `agents` that one of `hosts` told of: seconds queued, tasks in hand, completed, failed."""
    return [tuple(row) for row in await connection.fetch(_WORK, list(agents), list(hosts))]


def organ_of(name: str, stored: Mapping[str, Any] | None) -> Organ | None:
    """An organ as `insert` stored it."""
    if stored is None:
        return None
    spec, roster = OrganSpec.model_validate(stored["spec"]), Roster.model_validate(stored["roster"])
    return Organ(name, spec, roster, removed=stored["removed"])


def _organ_json(organ: Organ) -> dict[str, Any]:
    spec, roster = organ.spec.model_dump(mode="json"), organ.roster.model_dump(mode="json")
    return {"spec": spec, "roster": roster, "removed": organ.removed}


def _record(row: asyncpg.Record) -> dict[str, Any]:
    decoded = {name: loads(row[name]) for name in ("request", "before", "after", "energy_before", "energy_after")}
    return {**dict(row), **decoded}
