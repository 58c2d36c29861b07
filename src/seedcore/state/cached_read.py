"""A part of the state that is read from somewhere else, and how old what is known of it is."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import asyncpg

from seedcore.errors import SeedCoreError, UnavailableError

Value = TypeVar("Value")

RETRY_S = 1.0
"""After a read that failed, whoever asks within this time is told so without another try."""


class Part(Generic[Value]):
    """What `read` gave last. One read runs at a time, and all who asked before it began share it.

    So whatever was committed before somebody asked is in what they get, and a thousand who ask cost two reads.

    Args:
        read: reads it anew.
        keep_s: seconds in which what was read is not read again.
    """

    def __init__(self, read: Callable[[], Awaitable[Value]], *, keep_s: float = 0.0) -> None:
        self._read, self._keep_s = read, keep_s
        self._value: Value | None = None
        self._read_at = -math.inf
        self._failed_at = -math.inf
        self._next: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self.error: SeedCoreError | None = None
        self.failures = 0

    async def refresh(self) -> None:
        """Read it anew; `error` says whether that failed."""
        now = time.monotonic()
        if now - self._read_at < self._keep_s or now - self._failed_at < RETRY_S:
            return
        if self._next is None:
            self._next = asyncio.create_task(self._round())
        # Whoever leaves early must not take the read away from the others.
        await asyncio.shield(self._next)

    async def _round(self) -> None:
        async with self._one:
            # The read begins: whoever comes from here on may have seen a commit that it does not.
            self._next = None
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
        """What is known; while reading fails, only up to that age.

        Raises:
            SeedCoreError: why nothing so recent is known.
        """
        if self.error is not None and self.age_s > max_age_s:
            raise self.error
        if self._value is None:
            raise UnavailableError("Nothing has been read yet.", retry_after_s=1)
        return self._value

    @property
    def value(self) -> Value | None:
        """What is known, however old; None before the first read."""
        return self._value

    @property
    def age_s(self) -> float:
        """Seconds since the last read that worked began."""
        return time.monotonic() - self._read_at
