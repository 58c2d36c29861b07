"""A shared, cached read of one source: who waits shares one read, and failures leave the last value with its age."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import asyncpg

from seedcore.errors import SeedCoreError, UnavailableError

Value = TypeVar("Value", covariant=True)

RETRY_S = 1.0
"""After a read that failed, callers within this time get the failure without another try."""


class CachedRead(Generic[Value]):
    """The last value that `read` gave. One read runs at a time, and all who asked before it began share it.

    So whatever was committed before a caller asked is in what the caller gets, and a thousand callers cost two reads.

    Args:
        read: reads the value.
        ttl_s: seconds in which the value is not read again.
    """

    def __init__(self, read: Callable[[], Awaitable[Value]], *, ttl_s: float = 0.0) -> None:
        self._read, self._ttl_s = read, ttl_s
        self._value: Value | None = None
        self._read_at = -math.inf
        self._failed_at = -math.inf
        self._pending: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self.error: SeedCoreError | None = None
        self.failures = 0

    async def refresh(self) -> None:
        """Read the value again; `error` says whether that failed."""
        now = time.monotonic()
        if now - self._read_at < self._ttl_s or now - self._failed_at < RETRY_S:
            return
        if self._pending is None:
            self._pending = asyncio.create_task(self._read_once())
        # A caller that leaves early must not take the read away from the others.
        await asyncio.shield(self._pending)

    async def _read_once(self) -> None:
        async with self._reading:
            # The read begins: callers from here on may have seen a commit that it does not.
            self._pending = None
            began = time.monotonic()
            try:
                self._value = await self._read()
            except SeedCoreError as error:
                self._fail(error)
            except (asyncpg.PostgresError, OSError) as error:  # a TimeoutError is an OSError
                self._fail(UnavailableError(f"PostgreSQL fails ({type(error).__name__}).", retry_after_s=1))
            else:
                self._read_at, self._failed_at, self.error = began, -math.inf, None

    def _fail(self, error: SeedCoreError) -> None:
        self.error, self._failed_at = error, time.monotonic()
        self.failures += 1

    def within(self, max_age_s: float) -> Value:
        """The last value; while reading fails, only up to that age.

        Raises:
            SeedCoreError: why there is no value so recent.
        """
        if self.error is not None and self.age_s > max_age_s:
            raise self.error
        if self._value is None:
            raise UnavailableError("Nothing has been read yet.", retry_after_s=1)
        return self._value

    def value_or_none(self, max_age_s: float) -> Value | None:
        """The last value; None when there is none, or when reading fails and it is older than `max_age_s`."""
        return self._value if self.error is None or self.age_s <= max_age_s else None

    @property
    def value(self) -> Value | None:
        """The last value, however old; None before the first read."""
        return self._value

    @property
    def age_s(self) -> float:
        """Seconds since the last successful read began."""
        return time.monotonic() - self._read_at
