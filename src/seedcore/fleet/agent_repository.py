"""The table `agents` as hosts use it: restores what agents have learned, and writes what changed, in batches."""

from collections.abc import Mapping, Sequence

import asyncpg
import orjson

from seedcore.fleet.agent_lifecycle import Stage, SuccessRecord
from seedcore.fleet.agent_record import AgentRow, LearnedState
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.pricing.rates import RateEstimate
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger

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

BATCH = 5000
"""Agents that one statement reads or writes."""

REPORT_INTERVAL_S = 0.2
"""Pause between two saves of a host's agents: State shows a change within half a second."""

MAX_SAVE_SHARE = 0.15
"""Share of a host's time that saves may take; where they take longer, they come less often."""

MAX_PAUSE_S = 5.0


def pause_after(seconds: float) -> float:
    """Seconds to wait after a save that took `seconds`."""
    return min(MAX_PAUSE_S, max(REPORT_INTERVAL_S, seconds * (1 / MAX_SAVE_SHARE - 1)))


class AgentRepository:
    """Reads and writes the agents of a host; one statement a batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def restore(self, registry: AgentRegistry) -> int:
        """Load what the unrestored agents of `registry` had learned; returns how many agents were restored.

        One query for each BATCH of them.
        """
        count = 0
        while agent_ids := registry.unrestored(BATCH):
            async with self._database.connection() as connection:
                rows = await connection.fetch(_RESTORE, agent_ids)
            for row in rows:
                registry.restore(row["id"], _learned_state(row))
            registry.mark_restored(agent_ids)
            count += len(agent_ids)
        return count

    async def save(self, host: str, registry: AgentRegistry) -> int:
        """Write the agents that changed; returns how many. What a failed write leaves out, the next one writes.

        Agents are restored first: otherwise their rows would replace what they had learned elsewhere.
        """
        await self.restore(registry)
        count = 0
        while changed := registry.take_changed(BATCH):
            try:
                async with self._database.connection() as connection:
                    await connection.execute(_SAVE, *_columns(changed), host)
            except BaseException:
                registry.mark_changed(a.id for a in changed)
                raise
            count += len(changed)
            if len(changed) < BATCH:
                break
        return count


def _columns(rows: Sequence[AgentRow]) -> list[list[object]]:
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


def _json(value: Mapping[str, object] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _learned_state(row: asyncpg.Record) -> LearnedState:
    """What a row says. A stage that this version does not know (a newer one wrote it) counts as that of a scout."""
    try:
        stage = Stage(row["lifecycle"])
    except ValueError:
        get_logger("seedcore.fleet").warning("unknown agent stage", agent=row["id"], stage=row["lifecycle"])
        stage = Stage.SCOUT
    record, role_counts = row["standing"], row["role_counts"]
    return LearnedState(
        completed=row["completed"],
        failed=row["failed"],
        rates={name: RateEstimate(**sums) for name, sums in orjson.loads(row["rates"]).items()},
        stage=stage,
        record=None if record is None else SuccessRecord(**orjson.loads(record)),
        roles=None if role_counts is None else orjson.loads(role_counts),
        memory=row["memory"],
    )
