"""The table `agents` as other rooms use it: typed reads for State, the Organism and the cognitive service, and the two
changes that the Organism makes (put agents to sleep, clone them)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import asyncpg

from seedcore.stores.resume_point import Snapshot

MAX_COUNTED = 100_000
"""Agents that are counted at most."""

CHANGES_PAGE = 20_000
"""Most agents that `changed_since` returns."""

# Primary key agents (id), but for _CHANGED (index agents_seq) and CHANGED_BATCH (index agents_change).
_CHANGED = "select id, host, lifecycle, seq from seedcore.agents where seq > $1 order by seq limit $2"
_SLEEP = """
update seedcore.agents set host = '', running = 0, queued_s = 0, seq = nextval('seedcore.agent_change')
where id = any($1::text[]) and running = 0
"""
_CLONE = """
insert into seedcore.agents (id, organ, host, rates, lifecycle, standing, roles, role_counts)
select c.id, a.organ, '', a.rates, a.lifecycle, a.standing, a.roles, a.role_counts
from unnest($1::text[], $2::text[]) as c(id, original) join seedcore.agents a on a.id = c.original
on conflict (id) do nothing
"""
_WORK = """
select queued_s, running, completed, failed from seedcore.agents where id = any($1::text[]) and host = any($2::text[])
"""
_HOSTS = "select id, host from seedcore.agents where id = any($1::text[])"
_BY_STATUS = """
select organ, case when host = '' then 'asleep' else lifecycle end as status, count(*)::float8 as n
from (select organ, host, lifecycle from seedcore.agents limit $1) a group by 1, 2
"""


class AgentChange(NamedTuple):
    """Where an agent lives ('' when it sleeps) and its stage, as of the change `seq`."""

    id: str
    host: str
    lifecycle: str
    seq: int


class AgentWork(NamedTuple):
    """An agent's work: expected seconds and number of the tasks in hand, and how its attempts ended so far."""

    queued_s: float
    running: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class AgentBatch:
    """Some agents by columns, all of one length. `rates` and `roles` are JSON texts."""

    id: list[str]
    organ: list[str]
    host: list[str]
    running: list[int]
    queued_s: list[float]
    completed: list[int]
    failed: list[int]
    lifecycle: list[str]
    rates: list[str]
    roles: list[str | None]
    age_s: list[float]
    change: list[int]


_COLUMNS = tuple(field.name for field in fields(AgentBatch))
_LISTS = ", ".join(f"array_agg({name}) as {name}" for name in _COLUMNS)
_SELECT = """
select id, organ, host, running, queued_s, completed, failed, lifecycle, rates::text as rates,
       roles::text as roles, extract(epoch from now() - updated)::float8 as age_s, change::text::bigint as change
from seedcore.agents"""
_PAGE = f"select {_LISTS} from ({_SELECT} where id > $1 order by id limit $2) a"  # noqa: S608 - constants of this file
# One statement has one snapshot, the one that it returns.
CHANGED_BATCH = f"""
select pg_current_snapshot()::text as seen, {_LISTS}
from ({_SELECT} where change >= $1::text::xid8 or change = any($2::text[]::xid8[])) a
"""  # noqa: S608
_NOW = "select pg_current_snapshot()::text"


async def changed_since(connection: asyncpg.Connection, seq: int) -> list[AgentChange]:
    """Agents that were written after the change `seq`, in that order; at most CHANGES_PAGE."""
    return [AgentChange(*row) for row in await connection.fetch(_CHANGED, seq, CHANGES_PAGE)]


async def put_to_sleep(connection: asyncpg.Connection, agents: Iterable[str]) -> None:
    """Take agents without work in hand from their hosts; what they have learned stays."""
    await connection.execute(_SLEEP, list(agents))


async def clone(connection: asyncpg.Connection, originals: Mapping[str, str]) -> None:
    """Create agents with what their originals have learned; their counters start at 0.

    Args:
        connection: of the transaction that adds them to an organ.
        originals: for each new agent the one that it is a copy of.
    """
    await connection.execute(_CLONE, list(originals), list(originals.values()))


async def work_of(connection: asyncpg.Connection, agents: Iterable[str], hosts: Iterable[str]) -> list[AgentWork]:
    """Work of those of `agents` that live on one of `hosts`, as these last reported it."""
    return [AgentWork(*row) for row in await connection.fetch(_WORK, list(agents), list(hosts))]


async def hosts_of(connection: asyncpg.Connection, agents: Iterable[str]) -> dict[str, str]:
    """The host of each of `agents` that is known; '' of one that sleeps."""
    return {row["id"]: row["host"] for row in await connection.fetch(_HOSTS, list(agents))}


async def snapshot_now(connection: asyncpg.Connection) -> Snapshot:
    """The snapshot of PostgreSQL's transactions at this moment."""
    return Snapshot.parse(await connection.fetchval(_NOW))


async def read_page(connection: asyncpg.Connection, after: str, limit: int) -> AgentBatch | None:
    """At most `limit` agents in the order of their ids, from after the id `after`; None when there are no more."""
    return _batch(await connection.fetchrow(_PAGE, after, limit))


async def read_changed(connection: asyncpg.Connection, known: Snapshot) -> tuple[AgentBatch | None, Snapshot]:
    """Agents that changed since `known`, None when none did, and the snapshot to continue from."""
    row = await connection.fetchrow(CHANGED_BATCH, str(known.xmax), [str(number) for number in known.running])
    return _batch(row), Snapshot.parse(row["seen"])


def _batch(row: asyncpg.Record) -> AgentBatch | None:
    return None if row["id"] is None else AgentBatch(*[row[name] for name in _COLUMNS])


async def count_by_status(connection: asyncpg.Connection) -> dict[tuple[str, ...], float]:
    """How many agents each organ has, by stage; those that sleep are `asleep`. Of MAX_COUNTED agents at most."""
    return {(row["organ"], row["status"]): row["n"] for row in await connection.fetch(_BY_STATUS, MAX_COUNTED)}
