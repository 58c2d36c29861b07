"""The Redis client of a process."""

from typing import TYPE_CHECKING

from seedcore.errors import NotConfiguredError, UnavailableError
from seedcore.settings import Settings
from seedcore.telemetry.logs import mask

if TYPE_CHECKING:
    from redis.asyncio import Redis

TIMEOUT_S = 5.0
POOL_SIZE = 16


def redis_client(settings: Settings, *, timeout_s: float = TIMEOUT_S) -> "Redis":
    """A client of REDIS_URL, not connected yet. It belongs to one event loop; the caller closes it with `aclose()`.

    Args:
        settings: where Redis is.
        timeout_s: longest wait for a connection, and for an answer.

    Raises:
        NotConfiguredError: REDIS_URL is not set.
    """
    if settings.redis_url is None:
        raise NotConfiguredError("This needs Redis; set REDIS_URL.")
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff

    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=POOL_SIZE,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=30,
        # A connection that was lost while idle must not fail the next command.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
        client_name="seedcore",
    )
    return Redis.from_pool(pool)


def redis_error(error: Exception) -> UnavailableError:
    """The client's error as one of SeedCore's, without secrets."""
    return UnavailableError(f"Redis (REDIS_URL) failed: {mask(str(error))[:200]}", retry_after_s=2)
