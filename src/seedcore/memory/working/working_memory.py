"""Working memory: values that are dear to make, in this process and, where REDIS_URL is set, shared through Redis.

A cache never fails what it caches for. Without an answer of Redis the process cache answers alone (fallback
`working_memory_process`), and a value that cannot be kept is given to who asked for it and not kept.

With Redis, a copy in a process lives for at most `LOCAL_S` seconds: so long may a process use a value that another one
has replaced or deleted. Single flight is within a process: of several that want the same value at once, one makes it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar, cast

import orjson

from seedcore.errors import InvalidInputError
from seedcore.memory.working.process_cache import CacheUse, ProcessCache
from seedcore.memory.working.redis_cache import MAX_TTL_S, RedisCache
from seedcore.memory.working.shared_cache import TIMEOUT_S, SharedCache
from seedcore.settings import Settings
from seedcore.stores.redis import redis_client

LOCAL_S = 2.0
"""With Redis, longest life of a process's own copy."""
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024

Value = TypeVar("Value")


@dataclass(slots=True)
class _Flight:
    """A value that is being made, and how many wait for it."""

    task: "asyncio.Task[object] | None" = None
    waiting: int = 0
    forgotten: bool = False


class WorkingMemory:
    """Values by namespace and key: a process cache in front of Redis. It belongs to one event loop.

    A value is JSON, or bytes. A namespace says what sort of value it is (`plans`, `embeddings`, …); what belongs to one
    tenant has the tenant in its key.
    """

    def __init__(self, settings: Settings) -> None:
        self.max_bytes = settings.working_memory_bytes
        self._process = ProcessCache(self.max_bytes)
        self._shared: SharedCache | None = None
        if settings.redis_url is not None:
            client = redis_client(settings, timeout_s=TIMEOUT_S)
            cache = RedisCache(client, settings.namespace, self.max_bytes)
            # What was kept here for longer while Redis was away may have been replaced by other processes.
            self._shared = SharedCache(cache, came_back=self._process.clear)
        self._flights: dict[str, _Flight] = {}
        self._counts: Counter[str] = Counter()

    async def get_or_make(self, namespace: str, key: str, make: Callable[[], Awaitable[Value]], ttl_s: float) -> Value:
        """The value that is kept, else the one that `make` gives, which is then kept for at most `ttl_s` seconds.

        Who asks while it is being made waits for that one; when all who wait have been cancelled, so is making it.
        Whatever `make` raises reaches all who wait, and nothing is kept. JSON comes back as JSON: a tuple as a list.

        Raises:
            InvalidInputError: the namespace, the key or `ttl_s` is not allowed.
        """
        full = f"{namespace}:{key}"
        kept = self._process.get(full)
        if kept is not None:
            self._counts["hits"] += 1
            return cast(Value, _decode(kept))
        _check(full, ttl_s)
        flight = self._flights.get(full)
        if flight is None:
            flight = self._flights[full] = _Flight()
            flight.task = asyncio.create_task(self._find_or_make(full, flight, make, ttl_s))
        else:
            self._counts["shared_flights"] += 1
        assert flight.task is not None
        flight.waiting += 1
        try:
            return cast(Value, await asyncio.shield(flight.task))
        finally:
            flight.waiting -= 1
            if flight.waiting == 0:
                self._land(full, flight)
                flight.task.cancel()

    async def get(self, namespace: str, key: str) -> object:
        """The value that is kept; None when there is none."""
        full = f"{namespace}:{key}"
        payload = self._process.get(full)
        if payload is None:
            _check(full, 1.0)
            payload = await self._find(full)
        return None if payload is None else _decode(payload)

    async def put(self, namespace: str, key: str, value: object, ttl_s: float) -> bool:
        """Keep a value for at most `ttl_s` seconds; False when it cannot be kept: no JSON, or too large."""
        full = f"{namespace}:{key}"
        _check(full, ttl_s)
        payload = self._encoded(full, value)
        if payload is not None:
            await self._keep(full, payload, ttl_s)
        return payload is not None

    async def forget(self, namespace: str, key: str) -> None:
        """Remove a value; one that is being made is not kept."""
        full = f"{namespace}:{key}"
        _check(full, 1.0)
        flight = self._flights.pop(full, None)
        if flight is not None:
            flight.forgotten = True
        self._process.delete(full)
        if self._shared is not None:
            await self._shared.delete(full)

    def use(self) -> CacheUse:
        """Size and bound of this process's cache."""
        return self._process.use()

    def health(self) -> Mapping[str, object]:
        """This process's cache with its counts; `redis`: whether it answers, where it is set."""
        found: dict[str, object] = {**asdict(self.use()), **self._counts}
        if self._shared is not None:
            found["redis"] = self._shared.health()
        return found

    async def close(self) -> None:
        """End what is being made, and close the connections."""
        tasks = [flight.task for flight in self._flights.values() if flight.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()

    async def _find_or_make(
        self, full: str, flight: _Flight, make: Callable[[], Awaitable[object]], ttl_s: float
    ) -> object:
        payload = await self._find(full)
        if payload is not None:
            return _decode(payload)
        value = await make()
        self._counts["made"] += 1
        payload = self._encoded(full, value)
        if payload is None:
            return value
        if not flight.forgotten:
            await self._keep(full, payload, ttl_s)
        # Who asks from here on finds it kept.
        self._land(full, flight)
        return _decode(payload)

    async def _find(self, full: str) -> bytes | None:
        """From Redis."""
        payload = None if self._shared is None else await self._shared.get(full)
        if payload is not None:
            self._counts["redis_hits"] += 1
            self._process.set(full, payload, LOCAL_S)
        return payload

    async def _keep(self, full: str, payload: bytes, ttl_s: float) -> None:
        if self._shared is None:
            self._process.set(full, payload, ttl_s)
            return
        await self._shared.set(full, payload, ttl_s)
        self._process.set(full, payload, ttl_s if self._shared.reason is not None else min(ttl_s, LOCAL_S))

    def _encoded(self, full: str, value: object) -> bytes | None:
        payload = _encode(value)
        if payload is None or len(full.encode()) + len(payload) > min(MAX_VALUE_BYTES, self.max_bytes):
            self._counts["not_kept"] += 1
            return None
        return payload

    def _land(self, full: str, flight: _Flight) -> None:
        if self._flights.get(full) is flight:
            del self._flights[full]


def _encode(value: object) -> bytes | None:
    """Bytes behind a NUL, which no JSON begins with; None for what is neither bytes nor JSON."""
    if isinstance(value, bytes):
        return b"\0" + value
    try:
        # Not orjson, which silently turns NaN into null and a UUID into text.
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        return None


def _decode(payload: bytes) -> object:
    return orjson.loads(payload) if payload[0] else payload[1:]


def _check(full: str, ttl_s: float) -> None:
    if not 0.001 <= ttl_s <= MAX_TTL_S:
        raise InvalidInputError.for_field("ttl_s", f"must be from 0.001 to {MAX_TTL_S:.0f}")
    try:
        size = len(full.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidInputError.for_field("key", f"must be valid Unicode of 1 to {MAX_KEY_BYTES} bytes")
