"""Working memory: small JSON values with a time to live, in this process or shared through Redis.

Both drop expired values, and the least recently used ones when all values together exceed the bound. Redis is used when
REDIS_URL is set; when it does not answer, that is an error, and never falls back to this process.
"""

import json
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

import orjson

from seedcore.errors import InvalidInputError, TooLargeError
from seedcore.settings import Settings
from seedcore.stores.redis import redis_client, redis_error

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_BYTES = 64 * 1024 * 1024
DEFAULT_TTL_S = 3600.0
MAX_TTL_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Size and bound of a working memory."""

    kind: str
    entries: int
    bytes: int
    max_bytes: int


class WorkingMemory(ABC):
    """Keys to JSON values with a time to live, bounded in bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes

    async def get(self, key: str, default: object = None) -> object:
        """The value, or `default` when there is none or it has expired."""
        payload = await self._load(_checked_key(key))
        return default if payload is None else orjson.loads(payload)

    async def set(self, key: str, value: object, ttl_s: float = DEFAULT_TTL_S) -> None:
        """Store a JSON value for at most `ttl_s` seconds.

        Raises:
            TooLargeError: the value exceeds the bound of one value, or of the whole memory.
            InvalidInputError: it is not JSON, or `ttl_s` is out of range.
        """
        if not 0.001 <= ttl_s <= MAX_TTL_S:
            raise InvalidInputError.for_field("ttl_s", f"must be from 0.001 to {MAX_TTL_S:.0f}")
        payload = _encode(value)
        limit = min(MAX_VALUE_BYTES, self.max_bytes)
        if len(_checked_key(key).encode()) + len(payload) > limit:
            raise TooLargeError(f"The value of {key!r} has {len(payload)} bytes, more than the {limit} allowed.")
        await self._store(key, payload, ttl_s)

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Remove a key; True if it existed."""

    @abstractmethod
    async def use(self) -> MemoryUsage:
        """Its current size and bound."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _load(self, key: str) -> bytes | None: ...

    @abstractmethod
    async def _store(self, key: str, payload: bytes, ttl_s: float) -> None: ...


def working_memory(settings: Settings, max_bytes: int = MAX_BYTES) -> WorkingMemory:
    """The working memory that the settings select."""
    if settings.redis_url is None:
        return ProcessMemory(max_bytes)
    return RedisMemory(redis_client(settings), settings.namespace, max_bytes)


class ProcessMemory(WorkingMemory):
    """A memory in this process, for use from one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_bytes)
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        # A heap, soonest first; replaced and deleted entries leave items here that no longer match.
        self._expiries: list[tuple[float, str]] = []
        self._bytes = 0

    async def delete(self, key: str) -> bool:
        """Remove a key; True if it existed."""
        self._expire()
        return self._drop(_checked_key(key))

    async def use(self) -> MemoryUsage:
        """Its current size and bound."""
        self._expire()
        return MemoryUsage("process", len(self._entries), self._bytes, self.max_bytes)

    async def close(self) -> None:
        """There are no connections."""

    async def _load(self, key: str) -> bytes | None:
        self._expire()
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    async def _store(self, key: str, payload: bytes, ttl_s: float) -> None:
        self._expire()
        self._drop(key)
        expires = time.monotonic() + ttl_s
        self._entries[key] = (payload, expires)
        self._bytes += _size(key, payload)
        heappush(self._expiries, (expires, key))
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))
        if len(self._expiries) > 2 * len(self._entries) + 64:
            self._expiries = [(expires, name) for name, (_, expires) in self._entries.items()]
            heapify(self._expiries)

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= _size(key, entry[0])
        return True

    def _expire(self) -> None:
        now = time.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            expires, key = heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry[1] == expires:
                self._drop(key)


# KEYS: values, order of use (key -> tick), expiries (key -> ms), total bytes, last tick.
# Their common hash tag keeps them on one node of a Redis cluster.
_DROP = """
local function drop(key)
  local old = redis.call('HGET', KEYS[1], key)
  if not old then return 0 end
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
  redis.call('ZREM', KEYS[3], key)
  redis.call('DECRBY', KEYS[4], #key + #old)
  return 1
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for _, key in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1000)) do drop(key) end
"""
_USE = "redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[5]), ARGV[1])\n"
# A script expires at most a thousand keys; the requested one is always checked.
_EXPIRE_KEY = """
local expires = redis.call('ZSCORE', KEYS[3], ARGV[1])
if expires and tonumber(expires) <= now then drop(ARGV[1]) end
"""
_GET = f"""{_DROP}{_EXPIRE_KEY}
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value then {_USE} end
return value
"""
_SET = f"""{_DROP}
drop(ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
local bytes = redis.call('INCRBY', KEYS[4], #ARGV[1] + #ARGV[2])
{_USE}
while bytes > tonumber(ARGV[4]) do
  drop(redis.call('ZRANGE', KEYS[2], 0, 0)[1])
  bytes = tonumber(redis.call('GET', KEYS[4]))
end
for i = 1, 5 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
"""
_DELETE = f"{_DROP}{_EXPIRE_KEY}\nreturn drop(ARGV[1])"
_COUNT = f"{_DROP}\nreturn {{redis.call('HLEN', KEYS[1]), tonumber(redis.call('GET', KEYS[4]) or '0')}}"


class RedisMemory(WorkingMemory):
    """A memory shared by all processes of a namespace; each operation is one atomic script."""

    def __init__(self, client: "Redis", namespace: str, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_bytes)
        self._client = client
        tag = f"{{seedcore:{namespace}:working}}"
        self._keys = [f"{tag}:{part}" for part in ("values", "used", "expires", "bytes", "tick")]
        self._get, self._set, self._delete, self._count = (
            client.register_script(source) for source in (_GET, _SET, _DELETE, _COUNT)
        )

    async def delete(self, key: str) -> bool:
        """Remove a key; True if it existed."""
        return bool(await self._call(self._delete, _checked_key(key)))

    async def use(self) -> MemoryUsage:
        """Its current size and bound."""
        entries, used = await self._call(self._count)
        return MemoryUsage("redis", entries, used, self.max_bytes)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _load(self, key: str) -> bytes | None:
        payload = await self._call(self._get, key)
        assert payload is None or isinstance(payload, bytes)
        return payload

    async def _store(self, key: str, payload: bytes, ttl_s: float) -> None:
        # The whole memory expires when nothing has been written for the longest time to live.
        await self._call(self._set, key, payload, int(ttl_s * 1000), self.max_bytes, int(MAX_TTL_S * 1000))

    async def _call(self, script: "AsyncScript", *arguments: str | bytes | int) -> Any:
        from redis.exceptions import RedisError

        try:
            return await script(keys=self._keys, args=arguments)
        except (RedisError, OSError) as error:
            raise redis_error(error) from error


def _size(key: str, payload: bytes) -> int:
    return len(key.encode()) + len(payload)


def _encode(value: object) -> bytes:
    try:
        # Not orjson, which silently turns NaN into null and a UUID into text.
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.for_field("value", f"must be JSON: {error}") from error


def _checked_key(key: str) -> str:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidInputError.for_field("key", f"must be valid Unicode of 1 to {MAX_KEY_BYTES} bytes")
    return key
