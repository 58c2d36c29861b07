"""The Organism's tables: desired organs, planned hosts, and who leads.

Each function is one statement or one transaction. What a leader writes is accepted only while it leads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from seedcore.fleet import quarantine_repository
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.organism.agents.roster import Roster
from seedcore.organism.control.host import Host
from seedcore.organism.desired.desired_state import Organ
from seedcore.schemas.organism import WorkerNumbers
from seedcore.stores.postgres import Database, loads
from seedcore.telemetry.logs import get_logger

# All by primary key; organs and hosts are hundreds at most.
_LEAD = """
with led as (
  update seedcore.organism set leader = $1, leads_until = now() + make_interval(secs => $2)
   where leader = $1 or leads_until < now() or leader is null
  returning id)
select epoch, desired, stopped, exists (select from led) as leads from seedcore.organism
"""
_RESIGN = "update seedcore.organism set leader = null, leads_until = '-infinity' where leader = $1"
_DESIRED = "select desired, stopped, workers from seedcore.organism"
_ORGANS = "select id, spec, roster, version, file_hash, removed from seedcore.organs order by id"
_LOCK = "select desired, stopped from seedcore.organism for update"
_SET_WORKERS = """
update seedcore.organism set workers = $1::jsonb, desired = desired + 1
where workers is distinct from $1::jsonb
"""
_CHANGE = "update seedcore.organism set desired = desired + 1, stopped = $1 returning desired"
_SAVE_ORGANS = """
insert into seedcore.organs (id, spec, roster, version, file_hash, removed)
select * from unnest($1::text[], $2::jsonb[], $3::jsonb[], $4::bigint[], $5::text[], $6::bool[])
on conflict (id) do update set spec = excluded.spec, roster = excluded.roster, version = excluded.version,
  file_hash = excluded.file_hash, removed = excluded.removed, updated = now()
"""
_HOSTS = """
select name, organ, fingerprint, alive, reason, node, drain_reason,
       extract(epoch from now() - draining_since)::float8 as draining_s
from seedcore.host_plans order by name
"""
_FENCE = """
update seedcore.organism set epoch = epoch + $2, host_number = host_number + $3
where leader = $1 returning epoch, host_number
"""
_SAVE_HOSTS = """
insert into seedcore.host_plans (name, organ, fingerprint, alive, reason, node, drain_reason, draining_since)
select h.name, h.organ, h.fingerprint, h.alive, h.reason, h.node, h.drain_reason,
       case when h.drain_reason is not null then now() end
from unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::text[], $6::text[], $7::text[])
  as h(name, organ, fingerprint, alive, reason, node, drain_reason)
on conflict (name) do update set organ = excluded.organ, fingerprint = excluded.fingerprint, alive = excluded.alive,
  reason = excluded.reason, node = excluded.node, drain_reason = excluded.drain_reason,
  draining_since = coalesce(host_plans.draining_since, excluded.draining_since)
"""
_DROP_HOSTS = "delete from seedcore.host_plans where name = any($1::text[])"


@dataclass(frozen=True, slots=True)
class LeadershipState:
    """The organism's row, whether the caller leads, and the skills that are quarantined now."""

    epoch: int
    desired: int
    stopped: bool
    leads: bool
    quarantined: tuple[QuarantinedSkill, ...]


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the organism is to be.

    Attributes:
        change: the number of the last change.
        stopped: no host is to run.
        workers: how many workers there are to be; None: as the settings say.
        organs: every organ, removed ones included.
        unreadable: organs that another version wrote and this one cannot read.
    """

    change: int
    stopped: bool
    workers: WorkerNumbers | None
    organs: dict[str, Organ]
    unreadable: frozenset[str]


class LockedState(NamedTuple):
    """The organism's row, locked: the number of the last change, and whether the organism is stopped."""

    change: int
    stopped: bool


class LeadLostError(Exception):
    """Another replica leads now: nothing was written."""


class OrganismRepository:
    """Reads and writes the organism's rows."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def lead(self, owner: UUID, lead_s: float) -> LeadershipState:
        """Become or stay the leader for `lead_s` seconds, unless another one is."""
        async with self.database.connection() as connection:
            row = await connection.fetchrow(_LEAD, owner, lead_s)
            return LeadershipState(**dict(row), quarantined=tuple(await quarantine_repository.active(connection)))

    async def resign(self, owner: UUID) -> None:
        """Let another one lead at once."""
        async with self.database.connection() as connection:
            await connection.execute(_RESIGN, owner)

    async def desired_state(self) -> DesiredState:
        """Read the whole desired state."""
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_DESIRED)
            workers = _stored_workers(row["workers"])
            return DesiredState(row["desired"], row["stopped"], workers, *await _read_organs(connection))

    async def hosts(self) -> dict[str, Host]:
        """The planned hosts as the leader last saw them."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(_HOSTS)
        return {row["name"]: Host(**dict(row)) for row in rows}

    async def number_hosts(self, owner: UUID, count: int) -> int:
        """Take `count` numbers for new hosts; returns the last of them.

        Raises:
            LeadLostError: `owner` does not lead.
        """
        async with self.database.connection() as connection:
            return (await self._fence(connection, owner, 0, count))["host_number"]

    async def save_hosts(self, owner: UUID, changed: Sequence[Host], gone: Sequence[str], *, new_epoch: bool) -> int:
        """Write what the leader observed and planned; returns the epoch, a new one when the routing table changed.

        Raises:
            LeadLostError: `owner` does not lead; nothing is written.
        """
        async with self.database.transaction() as connection:
            epoch = (await self._fence(connection, owner, int(new_epoch), 0))["epoch"]
            if gone:
                await connection.execute(_DROP_HOSTS, list(gone))
            names = ("name", "organ", "fingerprint", "alive", "reason", "node", "drain_reason")
            if changed:
                await connection.execute(_SAVE_HOSTS, *[[getattr(host, n) for host in changed] for n in names])
            return epoch

    async def _fence(self, connection: asyncpg.Connection, owner: UUID, epochs: int, hosts: int) -> Mapping[str, int]:
        row = await connection.fetchrow(_FENCE, owner, epochs, hosts)
        if row is None:
            raise LeadLostError
        return dict(row)


async def lock_desired(connection: asyncpg.Connection) -> LockedState:
    """Begin a change of the desired state: other changes wait until this transaction ends."""
    return LockedState(*await connection.fetchrow(_LOCK))


async def count_change(connection: asyncpg.Connection, *, stopped: bool) -> int:
    """Count a change of the desired state; returns its number."""
    return int(await connection.fetchval(_CHANGE, stopped))


async def set_workers(connection: asyncpg.Connection, workers: WorkerNumbers) -> int:
    """Set how many workers there are to be; counts as a change only if it is one. Returns the last change's number."""
    await connection.execute(_SET_WORKERS, workers.model_dump_json())
    return int(await connection.fetchval(_DESIRED))


def _stored_workers(stored: str | None) -> WorkerNumbers | None:
    try:
        return None if stored is None else WorkerNumbers.model_validate(loads(stored))
    except ValidationError as error:
        get_logger("seedcore.organism").error("cannot read the number of workers, taking settings", reason=str(error))
        return None


async def read_organs(connection: asyncpg.Connection) -> dict[str, Organ]:
    """Every organ, removed ones included. Those that another version wrote and this one cannot read are left out:
    writing one replaces it."""
    return (await _read_organs(connection))[0]


async def _read_organs(connection: asyncpg.Connection) -> tuple[dict[str, Organ], frozenset[str]]:
    organs, unreadable = {}, set()
    for row in await connection.fetch(_ORGANS):
        try:
            spec = OrganSpec.model_validate(loads(row["spec"]))
            roster = Roster.model_validate(loads(row["roster"]))
        except ValidationError as error:
            get_logger("seedcore.organism").error("cannot read a stored organ", organ=row["id"], reason=str(error))
            unreadable.add(row["id"])
            continue
        organs[row["id"]] = Organ(row["id"], spec, roster, row["version"], row["file_hash"], row["removed"])
    return organs, frozenset(unreadable)


async def write_organs(connection: asyncpg.Connection, organs: Sequence[Organ]) -> None:
    """Store organs as given, versions included."""
    await connection.execute(
        _SAVE_ORGANS,
        [organ.id for organ in organs],
        [json.dumps(organ.spec.model_dump(mode="json")) for organ in organs],
        [json.dumps(organ.roster.model_dump(mode="json")) for organ in organs],
        [organ.version for organ in organs],
        [organ.file_hash for organ in organs],
        [organ.removed for organ in organs],
    )
