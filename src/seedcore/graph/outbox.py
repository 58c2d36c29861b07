"""The outbox of the graph in PostgreSQL: what waits, how far the sync is, and what bounds both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson

from seedcore.graph.changes import Change, EndedSum

MAX_SUMS = 200_000
"""Rows of sums; over it the agents of new ones are one."""

MAX_PENDING = 100_000
"""Changes that wait; over it the oldest are dropped, and what the tables hold is read again when the sync goes on."""

_STATE = """
select s.started_at, s.refill, s.synced_seq, s.synced_at, s.failing, p.pending, p.lag_s
from seedcore.graph_state s
cross join lateral (
  select coalesce(extract(epoch from now() - least(
           (select c.at from seedcore.graph_changes c order by c.seq limit 1),
           (select m.at from seedcore.graph_sums m where m.changed order by m.at limit 1)))::float8, 0) as lag_s,
         (select count(*) from (select 1 from seedcore.graph_changes limit 100001) c) as pending) p
"""
_START = "update seedcore.graph_state set started_at = now() where started_at is null"
_REFILL = "update seedcore.graph_state set refill = true"
_SYNCED = """
update seedcore.graph_state
set synced_seq = greatest(synced_seq, $1), synced_at = now(), failing = null, failing_at = null
"""
_FAILED = "update seedcore.graph_state set failing = $1, failing_at = now() where failing is distinct from $1"
# Primary key graph_changes (seq).
_CHANGES = """
select seq, kind, key, payload::text as payload from seedcore.graph_changes where kind <> 'ended' order by seq limit $1
"""
# Index graph_sums_changed.
_SUMS = """
select tenant, type, agent, code, n, seconds from seedcore.graph_sums where changed order by at limit $1
"""
_OLDEST = "select seq from seedcore.graph_changes order by seq limit 1"
_TAKEN = "delete from seedcore.graph_changes where seq = any($1::bigint[])"
# Primary key graph_sums. A sum that grew meanwhile comes again.
_SUMS_TAKEN = """
update seedcore.graph_sums s set changed = false
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) t(tenant, type, agent, code, n)
where (s.tenant, s.type, s.agent, s.code, s.n) = (t.tenant, t.type, t.agent, t.code, t.n)
"""
_LAST_SEQ = """
select greatest(s.synced_seq, coalesce((select max(seq) from seedcore.graph_changes), 0)) from seedcore.graph_state s
"""
_GO_ON_FROM = """
select setval(pg_get_serial_sequence('seedcore.graph_changes', 'seq'),
              greatest($1, nextval(pg_get_serial_sequence('seedcore.graph_changes', 'seq'))))
"""


@dataclass(frozen=True, slots=True)
class GraphState:
    """How far the graph is.

    Attributes:
        started_at: of its first use; None: it was not used yet.
        refill: what the tables hold is to be read.
        synced_seq: the last change that was applied.
        synced_at: when nothing was left to apply, or some was applied, last.
        failing: why the last round of the sync failed; None: it did not.
        pending: changes that wait, at most MAX_PENDING + 1.
        lag_s: the age of the oldest of them, in seconds.
    """

    started_at: datetime | None
    refill: bool
    synced_seq: int
    synced_at: datetime | None
    failing: str | None
    pending: int
    lag_s: float

    def health(self, *, continuous: bool) -> dict[str, object]:
        """`{status, lag_s, pending, reason?}`; `continuous`: it is synced without having been used."""
        if self.started_at is None and not continuous:
            return {"status": "unused", "lag_s": 0.0, "pending": self.pending}
        status = "failing" if self.failing else "behind" if self.lag_s > LATE_S else "in_sync"
        answer: dict[str, object] = {"status": status, "lag_s": round(self.lag_s, 1), "pending": self.pending}
        return answer | ({"reason": self.failing} if self.failing else {})


LATE_S = 10.0
"""A graph that is further behind is `behind`."""


async def read_state(connection: asyncpg.Connection) -> GraphState:
    """How far the graph is."""
    return GraphState(*await connection.fetchrow(_STATE))


async def start(connection: asyncpg.Connection) -> None:
    """The graph is used: from now on it is kept up to date."""
    await connection.execute(_START)


async def ask_refill(connection: asyncpg.Connection) -> None:
    """Let the sync read again what the tables hold."""
    await connection.execute(_REFILL)


async def refill(connection: asyncpg.Connection) -> int:
    """Let everything that the tables hold come as a change; returns how many."""
    return int(await connection.fetchval("select seedcore.graph_refill()"))


async def fold(connection: asyncpg.Connection) -> int:
    """Add up what has ended; returns how many sums changed."""
    return int(await connection.fetchval("select seedcore.graph_fold($1)", MAX_SUMS))


async def tidy(connection: asyncpg.Connection) -> int:
    """Bound what waits: merge changes of one thing, drop the oldest over MAX_PENDING; returns how many went."""
    return int(await connection.fetchval("select seedcore.graph_tidy($1, $2)", MAX_PENDING, MAX_SUMS))


async def pending(connection: asyncpg.Connection, limit: int) -> tuple[list[Change], list[EndedSum]]:
    """The oldest changes, and sums that changed; at most `limit` of each."""
    rows = await connection.fetch(_CHANGES, limit)
    changes = [Change(row["seq"], row["kind"], row["key"], orjson.loads(row["payload"])) for row in rows]
    return changes, [EndedSum(*row) for row in await connection.fetch(_SUMS, limit)]


async def taken(connection: asyncpg.Connection, changes: Sequence[Change], sums: Sequence[EndedSum]) -> None:
    """These are in the graph."""
    async with connection.transaction():
        if changes:
            await connection.execute(_TAKEN, [change.seq for change in changes])
        if sums:
            columns = zip(*[(s.tenant, s.type, s.agent, s.code, s.n) for s in sums], strict=True)
            await connection.execute(_SUMS_TAKEN, *[list(column) for column in columns])
        await connection.execute(_SYNCED, max((change.seq for change in changes), default=0))


async def failed(connection: asyncpg.Connection, reason: str) -> None:
    """A round of the sync failed."""
    await connection.execute(_FAILED, reason)


async def oldest(connection: asyncpg.Connection) -> int | None:
    """The number of the oldest change that waits; None: none does."""
    found: int | None = await connection.fetchval(_OLDEST)
    return found


async def last_seq(connection: asyncpg.Connection) -> int:
    """The highest number of a change so far, as far as it is known."""
    return int(await connection.fetchval(_LAST_SEQ))


async def go_on_from(connection: asyncpg.Connection, seq: int) -> None:
    """Give changes higher numbers than `seq`: the graph has seen it, and the database is an older one's backup."""
    await connection.execute(_GO_ON_FROM, seq)
