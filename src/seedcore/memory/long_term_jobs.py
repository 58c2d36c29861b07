"""What one replica of the Cognitive service does for long-term memory: it feeds, forgets, and keeps a schedule."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seedcore.errors import NotFoundError
from seedcore.memory.intake.feeder import FEED_EVERY_S, MemoryFeeder
from seedcore.memory.long_term.forgetting import Forgetting, Forgotten
from seedcore.memory.long_term.pgvector_state import pgvector_state
from seedcore.memory.long_term.reembedding import Reembedding
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.leading.leader_loop import LeaderJob
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.schedules import repository
from seedcore.tasks.schedules.schedule import ScheduleBody
from seedcore.tasks.submission.validate import Submission
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

if TYPE_CHECKING:
    from seedcore.llm.embedding.embedder import Embedder

FORGET_EVERY_S = 600.0
EMBED_EVERY_S = 15.0
KEEP_SCHEDULE_EVERY_S = 60.0
SCHEDULE = "seedcore.memory.consolidate"
"""Id of the schedule of consolidation. It stays paused, or with another time zone, if a person made it so."""


class LongTermJobs:
    """The jobs of long-term memory for the leader of the role `memory`, and what health says of it.

    Args:
        settings: how much is kept.
        database: where it is kept.
        embedder: the one in use.
        store: the memories, with their vectors by that embedder.
    """

    def __init__(self, settings: Settings, database: Database, embedder: "Embedder", store: MemoryStore) -> None:
        self._settings, self._database, self._embedder = settings, database, embedder
        self.feeder = MemoryFeeder(database, store)
        self._reembedding = Reembedding(database, embedder)
        self._forgetting = Forgetting(database, settings)
        self._forgotten = Forgotten(0, 0)
        self._log = get_logger("seedcore.memory")

    def jobs(self) -> Sequence[LeaderJob]:
        """What the leader does."""
        return (
            LeaderJob("feed", FEED_EVERY_S, self.feed),
            LeaderJob("embed", EMBED_EVERY_S, self._reembedding.run_when_due),
            LeaderJob("forget", FORGET_EVERY_S, self.forget),
            LeaderJob("schedule", KEEP_SCHEDULE_EVERY_S, self.keep_schedule),
        )

    async def feed(self) -> None:
        """Remember what waits."""
        before = self.feeder.remembered
        await self.feeder.feed()
        if self.feeder.remembered > before:
            counter("seedcore_memories_total").add(self.feeder.remembered - before, event="fed")

    async def forget(self) -> None:
        """Forget what has faded, and what is too much."""
        self._forgotten = await self._forgetting.run()
        for event, n in (("faded", self._forgotten.faded), ("over", self._forgotten.over)):
            if n:
                counter("seedcore_memories_total").add(n, event=event)

    async def keep_schedule(self) -> None:
        """Make the schedule of consolidation, and keep its rhythm what the setting says."""
        every_s = self._settings.memory_consolidate_every_s
        async with self._database.connection() as connection:
            try:
                known = await repository.get(connection, SCHEDULE, "default")
                if known.every_s == every_s:
                    return
            except NotFoundError:
                self._log.info("schedule of consolidation made", every_s=every_s)
        skills = await asyncio.to_thread(SkillRegistry.load, self._settings)
        async with self._database.connection() as connection:
            body = ScheduleBody(task={"type": "memory.consolidate", "params": {}}, every_s=every_s)
            await repository.put(connection, Submission(self._settings, skills), SCHEDULE, body)

    async def health(self) -> Mapping[str, object]:
        """What memory does, and what it does without: the names of fallbacks."""
        report: dict[str, object] = {"embedder": self._embedder.name}
        try:
            state = await self.feeder.queue.state()
            pgvector = await pgvector_state(self._database)
        except DATABASE_ERRORS as error:
            return report | {"reason": str(error)}
        report |= {"waiting": state.waiting, "lag_s": round(state.lag_s, 1), "pgvector": pgvector.version}
        if state.full:
            report |= {"degraded": True, "intake": "full: nothing more is taken in until what waits is remembered"}
        if pgvector.fallback is not None:
            report |= {"degraded": True, "fallback": pgvector.fallback, "reason": pgvector.reason}
        return report
