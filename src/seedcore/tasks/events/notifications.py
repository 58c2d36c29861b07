"""Listens for NOTIFY on one connection, and says on it what this process waits for.

A NOTIFY takes a lock that all commits of a server share, so only waiting processes are notified: a waiting process
holds a shared advisory lock, which senders look for first (`seedcore.wake` and `seedcore.tell` in the schema). Polling
makes up for a notification that is lost in between.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import asyncpg

from seedcore.stores.postgres import DATABASE_ERRORS, Database

NotificationHandler = Callable[[object, int, str, str], None]
"""Takes the connection, the server process, the channel and the payload."""


class NotificationListener:
    """Listens on channels while `listen` runs."""

    def __init__(self, database: Database, channels: Mapping[str, NotificationHandler]) -> None:
        self._database, self._channels = database, channels
        self._connection: asyncpg.Connection | None = None
        self._in_use = asyncio.Lock()

    async def listen(self, on_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Connect, listen, call `on_ready`; returns when the connection has ended."""
        connection = await self._database.connect()
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: closed.set())
            for channel, handler in self._channels.items():
                await connection.add_listener(channel, handler)
            self._connection = connection
            if on_ready is not None:
                await on_ready()
            await closed.wait()
        finally:
            self._connection = None
            # The server may have ended it; whoever cancelled this must not hear of that instead.
            with contextlib.suppress(*DATABASE_ERRORS, TimeoutError):
                await connection.close(timeout=2)

    async def set_waiting(self, lock_class: int, key: str, *, waiting: bool) -> bool:
        """Declare that this process waits for `key`, or no longer; False without a connection.

        Args:
            lock_class: IDLE_LANE or EVENT_FOLLOWERS of `stores.advisory_locks`.
            key: the lane, or `events`.
            waiting: from now on, or no longer.
        """
        connection = self._connection
        if connection is None:
            return False
        lock = "pg_advisory_lock_shared" if waiting else "pg_advisory_unlock_shared"
        async with self._in_use:
            try:
                await connection.execute(f"select {lock}($1, hashtext($2))", lock_class, key, timeout=5)
            except (*DATABASE_ERRORS, TimeoutError):
                connection.terminate()
                return False
        return True
