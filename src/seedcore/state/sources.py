"""Where State has everything from, each source read at its own pace."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from seedcore.memory.flashbulb import FlashbulbStore
from seedcore.memory.working_memory import working_memory
from seedcore.settings import Settings
from seedcore.state.agent_view import SESSION, WAIT_S, AgentView
from seedcore.state.cached_read import Part
from seedcore.stores.pg_snapshot import Snapshot
from seedcore.stores.postgres import Database
from seedcore.tasks import queries

SLOW_S = 5.0
"""Memories and the cluster are not counted anew more often than this."""

ReadCluster = Callable[[], Awaitable[dict[str, Any]]]


class Sources:
    """Agents, the queue, memories and the cluster.

    Args:
        settings: where the stores are.
        read_cluster: gives `{nodes, cpus, gpus}`, or nothing where no cluster is known.
    """

    def __init__(self, settings: Settings, read_cluster: ReadCluster) -> None:
        self.database = Database(settings, size=2, session=SESSION, name="seedcore-state")
        self.view = AgentView(self.database)
        self._flashbulbs = FlashbulbStore(settings)
        # A memory inside some process is known to that process alone.
        self._working = None if settings.redis_url is None else working_memory(settings)
        self.agents: Part[Snapshot] = Part(self.view.read)
        self.system: Part[dict[str, Any]] = Part(self._read_queue)
        self.cluster: Part[dict[str, Any]] = Part(read_cluster, keep_s=SLOW_S)
        self.memory: Part[int] = Part(self._flashbulbs.count, keep_s=SLOW_S)
        self.working_memory: Part[dict[str, Any]] | None = None
        if self._working is not None:
            self.working_memory = Part(self._read_working, keep_s=SLOW_S)

    async def aclose(self) -> None:
        """Close connections."""
        await self.database.aclose()
        await self._flashbulbs.close()
        if self._working is not None:
            await self._working.close()

    async def _read_queue(self) -> dict[str, Any]:
        async with self.database.connection(wait_s=WAIT_S) as connection:
            found = await queries.queue_state(connection)
        return {**found, "dispatchers": len(found["dispatchers"])}

    async def _read_working(self) -> dict[str, Any]:
        assert self._working is not None
        return asdict(await self._working.use())
