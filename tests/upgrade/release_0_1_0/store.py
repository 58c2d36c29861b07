"""Agents in PostgreSQL: what they have learned, read and written in batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger

from .agents import AgentBook, AgentRow, Learned
from .lifecycle import Stage, Standing
from .rates import RateEstimate

# Primary key agents (id).
_SAVE = """
insert into seedcore.agents (id, organ, host, running, queued_s, completed, failed, rates, lifecycle, standing, roles,
                             role_counts, memory)
select id, organ, $13, running, queued_s, completed, failed, rates, lifecycle, standing, roles, role_counts, memory
from unnest($1::text[], $2::text[], $3::int[], $4::float8[], $5::bigint[], $6::bigint[], $7::jsonb[], $8::text[],
            $9::jsonb[], $10::jsonb[], $11::jsonb[], $12::text[])
  as a(id, organ, running, queued_s, completed, failed, rates, lifecycle, standing, roles, role_counts, memory)
on conflict (id) do update set organ = excluded.organ, host = excluded.host, running = excluded.running,
  queued_s = excluded.queued_s, completed = excluded.completed, failed = excluded.failed, rates = excluded.rates,
  lifecycle = excluded.lifecycle, standing = excluded.standing, roles = excluded.roles,
  role_counts = excluded.role_counts, memory = excluded.memory,
  seq = nextval('seedcore.agent_change'), change = pg_current_xact_id(), updated = now()
"""
_RESTORE = """
select id, completed, failed, rates, lifecycle, standing, role_counts, memory
from seedcore.agents where id = any($1::text[])
"""

MOST = 5000
"""Agents that one statement reads or writes."""

REPORT_S = 0.2
"""Pause between two saves of a host's agents: State shows a change within half a second."""

SAVE_SHARE = 0.15
"""Most of a host's time that saves may take; where they take longer, they come less often."""

LONGEST_PAUSE_S = 5.0


def pause_after(seconds: float) -> float:
    """Seconds to wait after a save that took `seconds`."""
    return min(LONGEST_PAUSE_S, max(REPORT_S, seconds * (1 / SAVE_SHARE - 1)))


class AgentStore:
    """Reads and writes agents; one statement a batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def restore(self, book: AgentBook) -> int:
        """Give those agents of `book` back what they had learned that do not have it yet; returns how many there were.

        One query for all of them (for each MOST).
        """
        count = 0
        while agent_ids := book.unrestored(MOST):
            async with self._database.connection() as connection:
                rows = await connection.fetch(_RESTORE, agent_ids)
            for row in rows:
                book.restore(row["id"], _learned(row))
            book.mark_restored(agent_ids)
            count += len(agent_ids)
        return count

    async def save(self, host: str, book: AgentBook) -> int:
        """Write the agents that changed; returns how many. A write that fails is made up for by the next.

        An agent gets its memory back first: its row would otherwise replace what it had learned elsewhere.
        """
        await self.restore(book)
        count = 0
        while changed := book.take_changed(MOST):
            try:
                async with self._database.connection() as connection:
                    await connection.execute(_SAVE, *_columns(changed), host)
            except BaseException:
                book.mark_changed(a.id for a in changed)
                raise
            count += len(changed)
            if len(changed) < MOST:
                break
        return count


def _columns(rows: Sequence[AgentRow]) -> list[list[Any]]:
    return [
        [a.id for a in rows],
        [a.organ for a in rows],
        [a.running for a in rows],
        [a.queued_s for a in rows],
        [a.completed for a in rows],
        [a.failed for a in rows],
        [_json(a.rates) for a in rows],
        [a.lifecycle for a in rows],
        [_json(a.standing) for a in rows],
        [_json(a.roles) for a in rows],
        [_json(a.role_counts) for a in rows],
        [a.memory for a in rows],
    ]


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _learned(row: Any) -> Learned:
    """What a row tells. A stage that this version does not know (a newer one wrote it) is that of a beginner."""
    try:
        stage = Stage(row["lifecycle"])
    except ValueError:
        get_logger("seedcore.organism").warning("unknown stage", agent=row["id"], stage=row["lifecycle"])
        stage = Stage.SCOUT
    standing, counts = row["standing"], row["role_counts"]
    return Learned(
        completed=row["completed"],
        failed=row["failed"],
        rates={name: RateEstimate(**sums) for name, sums in orjson.loads(row["rates"]).items()},
        stage=stage,
        standing=None if standing is None else Standing(**orjson.loads(standing)),
        roles=None if counts is None else orjson.loads(counts),
        memory=row["memory"],
    )
