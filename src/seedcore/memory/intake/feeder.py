"""Remembers what the queue of intake names: a job of the one process that leads in the role `memory`."""

from collections.abc import Sequence
from uuid import UUID

from seedcore.errors import InvalidInputError
from seedcore.memory.facts.fact_store import FactStore
from seedcore.memory.intake.intake_queue import IntakeQueue, IntakeRow
from seedcore.memory.intake.memory_texts import fact_memory, failure_memory, plan_memory, triage_memory
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.ended_plans import ended_plans
from seedcore.telemetry.logs import get_logger

FEED_EVERY_S = 1.0
MAX_ROWS = 200
MAX_ROUNDS = 50


class MemoryFeeder:
    """Reads what the rows of intake are about, and remembers it.

    Two that run at once remember the same texts, which are then the same memories.
    """

    def __init__(self, database: Database, store: MemoryStore) -> None:
        self._database, self._store = database, store
        self.queue = IntakeQueue(database)
        self._facts = FactStore(database)
        self.remembered = 0
        self._log = get_logger("seedcore.memory.feeder")

    async def feed(self) -> None:
        """Remember all that waits, at most MAX_ROUNDS batches; what fails is tried again a minute later."""
        for _ in range(MAX_ROUNDS):
            rows = await self.queue.take(MAX_ROWS)
            if rows:
                await self._remember(rows)
                await self.queue.done(rows)
            if len(rows) < MAX_ROWS:
                return

    async def _remember(self, rows: Sequence[IntakeRow]) -> None:
        items = [failure_memory(row.ref, row.payload) for row in rows if row.kind == "failure"]
        items += [triage_memory(row.ref, row.payload) for row in rows if row.kind == "triage"]
        items += await self._plans([row.ref for row in rows if row.kind == "plan"])
        items += await self._fact_items([row.ref for row in rows if row.kind == "fact"])
        if not items:
            return
        try:
            await self._store.keep(items)
            self.remembered += len(items)
        except InvalidInputError:
            # One of them cannot be stored: the others can.
            for item in items:
                await self._keep_alone(item)

    async def _keep_alone(self, item: NewMemory) -> None:
        try:
            await self._store.keep([item])
            self.remembered += 1
        except InvalidInputError as error:
            self._log.warning("not remembered", source=item.source, id=item.source_id, reason=error.detail)

    async def _plans(self, refs: Sequence[str]) -> list[NewMemory]:
        if not refs:
            return []
        async with self._database.connection() as connection:
            return [plan_memory(plan) for plan in await ended_plans(connection, [UUID(ref) for ref in refs])]

    async def _fact_items(self, refs: Sequence[str]) -> list[NewMemory]:
        """Memories of facts that are there; those of facts that have gone are forgotten."""
        if not refs:
            return []
        facts = await self._facts.get_many([UUID(ref) for ref in refs])
        gone = set(refs) - {str(fact.id) for fact in facts}
        if gone:
            await self._store.forget_source("fact", sorted(gone))
        return [fact_memory(fact) for fact in facts]
