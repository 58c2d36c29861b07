"""The sources of State, each read at its own pace: agents, the queue, memories and the cluster."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import TypedDict

from seedcore.memory.flashbulbs.flashbulb_store import FlashbulbStore
from seedcore.memory.kept_counts import KeptCounts, count_kept
from seedcore.memory.working.redis_cache import RedisCache
from seedcore.settings import Settings
from seedcore.state.agent_view import SESSION, WAIT_S, AgentView
from seedcore.state.cached_read import CachedRead
from seedcore.stores.postgres import Database
from seedcore.stores.redis import redis_client
from seedcore.stores.resume_point import Snapshot
from seedcore.tasks import queries

SLOW_S = 5.0
"""Memories and the cluster are not counted more often than this."""

REDIS_S = 1.0
"""Longest wait for Redis: who asks for the state does not wait for it longer."""


class QueueCounts(TypedDict):
    """Tasks of one queue that can be claimed or wait for a time or a limit; age of the oldest claimable one."""

    ready: int
    deferred: int
    gated: int
    oldest_ready_s: float | None


class FlashbulbCounts(TypedDict):
    """Incidents where they are kept, and those that wait in PostgreSQL for MySQL; None without MySQL."""

    flashbulbs: int
    flashbulbs_waiting: int | None


class SystemTotals(TypedDict):
    """The queue as the database knows it: see `schemas.state.SystemState`."""

    queues: dict[str, QueueCounts]
    running: int
    waiting: int
    approval: int
    dead: int
    paused: list[str]
    dispatchers: int


class ClusterTotals(TypedDict, total=False):
    """Ray's living nodes, and their resources in total; empty where no cluster is known."""

    nodes: int
    cpus: float
    gpus: float


ReadCluster = Callable[[], Awaitable[ClusterTotals]]


class StateSources:
    """Cached reads of everything that State shows.

    Args:
        settings: where the stores are.
        read_cluster: reads the cluster's totals.
    """

    def __init__(self, settings: Settings, read_cluster: ReadCluster) -> None:
        self.database = Database(settings, size=2, session=SESSION, name="seedcore-state")
        self.view = AgentView(self.database)
        self._flashbulbs = FlashbulbStore(settings)
        # A memory inside some process is known to that process alone.
        self._working: RedisCache | None = None
        if settings.redis_url is not None:
            client = redis_client(settings, timeout_s=REDIS_S)
            self._working = RedisCache(client, settings.namespace, settings.working_memory_bytes)
        self.agents: CachedRead[Snapshot] = CachedRead(self.view.read)
        self.system: CachedRead[SystemTotals] = CachedRead(self._read_queue)
        self.cluster: CachedRead[ClusterTotals] = CachedRead(read_cluster, ttl_s=SLOW_S)
        self.memory: CachedRead[KeptCounts] = CachedRead(self._read_kept, ttl_s=SLOW_S)
        self.flashbulbs: CachedRead[FlashbulbCounts] = CachedRead(self._read_flashbulbs, ttl_s=SLOW_S)
        self.working_memory: CachedRead[Mapping[str, object]] | None = None
        if self._working is not None:
            self.working_memory = CachedRead(self._read_working, ttl_s=SLOW_S)

    async def aclose(self) -> None:
        """Close connections."""
        await self.database.aclose()
        await self._flashbulbs.close()
        if self._working is not None:
            await self._working.close()

    async def _read_queue(self) -> SystemTotals:
        async with self.database.connection(wait_s=WAIT_S) as connection:
            found = await queries.queue_state(connection)
        return SystemTotals(
            queues=found["queues"],
            running=found["running"],
            waiting=found["waiting"],
            approval=found["approval"],
            dead=found["dead"],
            paused=found["paused"],
            dispatchers=len(found["dispatchers"]),
        )

    async def _read_kept(self) -> KeptCounts:
        async with self.database.connection(wait_s=WAIT_S) as connection:
            return await count_kept(connection)

    async def _read_flashbulbs(self) -> FlashbulbCounts:
        waiting = None if self._flashbulbs.kind == "postgres" else await self._flashbulbs.waiting()
        return FlashbulbCounts(flashbulbs=await self._flashbulbs.count(), flashbulbs_waiting=waiting)

    async def _read_working(self) -> Mapping[str, object]:
        assert self._working is not None
        return asdict(await self._working.use())
