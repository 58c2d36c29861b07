"""What one process does for facts and flashbulbs in the background."""

from collections.abc import Sequence

from seedcore.memory.facts.fact_store import forget_uses
from seedcore.memory.flashbulbs.flashbulb_store import FlashbulbStore
from seedcore.settings import Settings
from seedcore.stores.leading.leader_loop import LeaderJob
from seedcore.stores.postgres import Database

FLASHBULBS_S, USES_S = 10.0, 3600.0
"""Seconds between two rounds."""


class MemoryJobs:
    """Brings incidents that waited for MySQL to it, and forgets which plans used facts when their tasks have gone."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.flashbulbs = FlashbulbStore(settings)
        self._database, self._mysql = database, settings.mysql_dsn is not None
        self._kept_d = max(settings.retention_finished_d, settings.retention_dead_d)

    def jobs(self) -> Sequence[LeaderJob]:
        """For the leader of the role `memory`."""
        jobs = [LeaderJob("uses of facts", USES_S, self._forget_uses)]
        if self._mysql:
            jobs.append(LeaderJob("flashbulbs", FLASHBULBS_S, self._move_flashbulbs))
        return jobs

    async def aclose(self) -> None:
        """Close connections."""
        await self.flashbulbs.close()

    async def _move_flashbulbs(self) -> None:
        while await self.flashbulbs.move_waiting():
            pass

    async def _forget_uses(self) -> None:
        async with self._database.connection() as connection:
            await forget_uses(connection, self._kept_d)
