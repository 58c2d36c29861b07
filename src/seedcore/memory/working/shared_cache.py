"""Redis as a cache that never holds up what it caches for: after a failure it is left alone until it answers again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from seedcore.errors import UnavailableError
from seedcore.memory.working.redis_cache import RedisCache
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

TIMEOUT_S = 0.25
"""Longest wait for one answer of Redis."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""From a failure to the first look whether Redis is back, doubled after each look that finds it is not."""
FALLBACK = "working_memory_process"
"""The process cache alone answers, because Redis does not."""

Answer = TypeVar("Answer")


class SharedCache:
    """Redis behind a circuit breaker. No method raises when Redis is down: it then holds nothing.

    Only the calls that were under way when Redis stopped to answer wait, for `TIMEOUT_S` at most. While the circuit is
    open no caller waits: a task in the background looks whether Redis is back.

    Args:
        cache: the cache in Redis.
        came_back: called when Redis answers again.

    Attributes:
        reason: why Redis is left alone; None while it answers.
        fallbacks: calls that were answered without Redis, in all.
    """

    def __init__(self, cache: RedisCache, came_back: Callable[[], None]) -> None:
        self._cache, self._came_back = cache, came_back
        self.reason: str | None = None
        self.fallbacks = 0
        self._uncounted = 0
        self._pause_s, self._look_at = FIRST_PAUSE_S, 0.0
        self._look: asyncio.Task[None] | None = None
        self._log = get_logger("seedcore.memory.working")

    async def get(self, key: str) -> bytes | None:
        """The payload; None when there is none, or when Redis does not answer."""
        return await self._answer(lambda: self._cache.get(key), None)

    async def set(self, key: str, payload: bytes, ttl_s: float) -> None:
        """Keep a payload, if Redis answers."""
        await self._answer(lambda: self._cache.set(key, payload, ttl_s), None)

    async def delete(self, key: str) -> bool:
        """Remove a key; False when it was not there, or when Redis does not answer."""
        return await self._answer(lambda: self._cache.delete(key), False)

    def health(self) -> Mapping[str, object]:
        """`{ready}`, or `{ready, reason, fallback, fallbacks}` while Redis does not answer."""
        if self.reason is None:
            return {"ready": True}
        return {"ready": False, "reason": self.reason, "fallback": FALLBACK, "fallbacks": self.fallbacks}

    async def close(self) -> None:
        """End the look in the background, and close the connections."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        self._count()
        await self._cache.close()

    async def _answer(self, call: Callable[[], Awaitable[Answer]], otherwise: Answer) -> Answer:
        if self.reason is None:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await call()
            except UnavailableError as error:
                self._open(error.detail)
            except TimeoutError:
                self._open(f"Redis (REDIS_URL) did not answer within {TIMEOUT_S} s")
        self.fallbacks += 1
        self._uncounted += 1
        if self._look is None and time.monotonic() >= self._look_at:
            self._look = asyncio.create_task(self._look_again(), name="working-memory-redis")
        return otherwise

    def _open(self, reason: str) -> None:
        if self.reason is None:
            self._log.warning("the process cache answers alone", fallback=FALLBACK, reason=reason)
            self._pause_s, self._look_at = FIRST_PAUSE_S, time.monotonic() + FIRST_PAUSE_S
        self.reason = reason

    async def _look_again(self) -> None:
        self._count()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._cache.use()
        except (UnavailableError, TimeoutError) as error:
            if isinstance(error, UnavailableError):
                self.reason = error.detail
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._look_at = time.monotonic() + self._pause_s
        else:
            self._log.info("Redis answers again", fallbacks=self.fallbacks)
            self.reason = None
            self._came_back()
        finally:
            self._look = None

    def _count(self) -> None:
        """Count the fallbacks since the last time, at once: not a call of the metric for each."""
        if self._uncounted:
            counter("seedcore_fallbacks_total").add(self._uncounted, fallback="working_memory_process")
            self._uncounted = 0
