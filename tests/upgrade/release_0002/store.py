"""How hosts of release 0002 keep agents."""

import json

from seedcore.pricing.rates import RateEstimate
from seedcore.stores.postgres import Database, loads

from .agents import AgentBook

# Primary key agents (id).
_SAVE = """
insert into seedcore.agents (id, organ, host, running, queued_s, completed, failed, rates)
select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::bigint[],
                     $7::bigint[], $8::jsonb[])
on conflict (id) do update set organ = excluded.organ, host = excluded.host, running = excluded.running,
  queued_s = excluded.queued_s, completed = excluded.completed, failed = excluded.failed, rates = excluded.rates,
  seq = nextval('seedcore.agent_change'), updated = now()
"""
_RESTORE = "select id, completed, failed, rates from seedcore.agents where id = any($1::text[])"


class AgentStore:
    """Reads and writes agents; one statement a batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def restore(self, book: AgentBook) -> None:
        """Give those agents of `book` back what they had learned that do not have it yet."""
        agent_ids = book.unrestored()
        if not agent_ids:
            return
        async with self._database.connection() as connection:
            rows = await connection.fetch(_RESTORE, agent_ids)
        for row in rows:
            rates = {name: RateEstimate(**values) for name, values in loads(row["rates"]).items()}
            book.restore(row["id"], row["completed"], row["failed"], rates)
        book.mark_restored(agent_ids)

    async def save(self, host: str, book: AgentBook) -> int:
        """Write the agents that changed; returns how many. A write that fails is made up for by the next.

        An agent gets its memory back first: its row would otherwise replace what it had learned elsewhere.
        """
        await self.restore(book)
        changed = book.take_changed()
        if not changed:
            return 0
        try:
            async with self._database.connection() as connection:
                await connection.execute(
                    _SAVE,
                    [a.id for a in changed],
                    [a.organ for a in changed],
                    [host] * len(changed),
                    [a.running for a in changed],
                    [a.queued_s for a in changed],
                    [a.completed for a in changed],
                    [a.failed for a in changed],
                    [json.dumps(a.rates) for a in changed],
                )
        except BaseException:
            book.mark_changed(a.id for a in changed)
            raise
        return len(changed)
