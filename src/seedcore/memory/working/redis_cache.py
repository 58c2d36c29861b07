"""A cache in Redis that all processes of a namespace share; each operation is one atomic script."""

from typing import TYPE_CHECKING, Any

from seedcore.memory.working.process_cache import CacheUse
from seedcore.stores.redis import redis_error

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

MAX_TTL_S = 7 * 86400.0

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


class RedisCache:
    """Keys to payloads in Redis. Expired and least recently used ones go, as in `ProcessCache`.

    Every method raises UnavailableError when Redis does not answer, or refuses.
    """

    def __init__(self, client: "Redis", namespace: str, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._client = client
        tag = f"{{seedcore:{namespace}:working}}"
        self._keys = [f"{tag}:{part}" for part in ("values", "used", "expires", "bytes", "tick")]
        self._get, self._set, self._delete, self._count = (
            client.register_script(source) for source in (_GET, _SET, _DELETE, _COUNT)
        )

    async def get(self, key: str) -> bytes | None:
        """The payload; None when there is none, or when it has expired."""
        payload = await self._call(self._get, key)
        assert payload is None or isinstance(payload, bytes)
        return payload

    async def set(self, key: str, payload: bytes, ttl_s: float) -> None:
        """Keep a payload for at most `ttl_s` seconds; one that is over the bound by itself is not kept."""
        if len(key.encode()) + len(payload) > self.max_bytes:
            await self.delete(key)
            return
        # The whole cache expires when nothing has been written for the longest time to live.
        await self._call(self._set, key, payload, max(1, int(ttl_s * 1000)), self.max_bytes, int(MAX_TTL_S * 1000))

    async def delete(self, key: str) -> bool:
        """Remove a key; True if it existed."""
        return bool(await self._call(self._delete, key))

    async def use(self) -> CacheUse:
        """Its size now, and its bound."""
        entries, used = await self._call(self._count)
        return CacheUse("redis", entries, used, self.max_bytes)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, script: "AsyncScript", *arguments: str | bytes | int) -> Any:
        from redis.exceptions import RedisError

        try:
            return await script(keys=self._keys, args=arguments)
        except (RedisError, OSError) as error:
            raise redis_error(error) from error
