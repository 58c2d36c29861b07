"""Whether the stores that are configured answer: PostgreSQL, and Redis, MySQL and the graph where they are used."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger

if TYPE_CHECKING:
    from neo4j import AsyncDriver
    from redis.asyncio import Redis
    from sqlalchemy import Engine

PROBE_EVERY_S, PROBE_S = 10.0, 2.0


class StoreProbes:
    """Asks each store at most every ten seconds, all at once; `up` has the last answers."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._redis: Redis | None = None
        self._engine: Engine | None = None
        self._driver: AsyncDriver | None = None
        self._asked = float("-inf")
        self._probes: dict[str, Callable[[], Awaitable[object]]] = {"postgres": self._postgres}
        if settings.redis_url is not None:
            self._probes["redis"] = self._ping_redis
        if settings.mysql_dsn is not None:
            self._probes["mysql"] = self._ping_mysql
        if settings.neo4j_uri is not None:
            self._probes["graph"] = self._ping_graph
        self.up: dict[str, bool] = {}
        self._log = get_logger("seedcore.stores")

    async def read(self) -> dict[str, bool]:
        """Which stores answer."""
        if time.monotonic() - self._asked >= PROBE_EVERY_S:
            self._asked = time.monotonic()
            names = list(self._probes)
            answers = await asyncio.gather(*[self._answers(name) for name in names])
            self.up = dict(zip(names, answers, strict=True))
        return self.up

    async def aclose(self) -> None:
        """Close connections."""
        if self._redis is not None:
            await self._redis.aclose()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)
        if self._driver is not None:
            await self._driver.close()

    async def _answers(self, name: str) -> bool:
        try:
            async with asyncio.timeout(PROBE_S):
                await self._probes[name]()
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own; all of them mean: no answer
            if self.up.get(name, True):
                self._log.warning("store does not answer", store=name, reason=type(error).__name__)
            return False
        return True

    async def _postgres(self) -> None:
        async with self._database.connection(wait_s=PROBE_S / 2) as connection:
            await connection.fetchval("select 1")

    async def _ping_redis(self) -> None:
        from seedcore.stores.redis import redis_client

        self._redis = self._redis or redis_client(self._settings)
        await self._redis.ping()

    async def _ping_mysql(self) -> None:
        from seedcore.stores.mysql import mysql_engine

        self._engine = self._engine or mysql_engine(self._settings)
        await asyncio.to_thread(lambda engine: engine.connect().close(), self._engine)

    async def _ping_graph(self) -> None:
        from seedcore.stores.neo4j import graph_driver

        self._driver = self._driver or graph_driver(self._settings)
        await self._driver.verify_connectivity()
