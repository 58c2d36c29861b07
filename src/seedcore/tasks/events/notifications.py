"""Being woken: one connection that listens, and that tells others what is waited for.

A NOTIFY takes a lock that all commits of a server share, so only who waits is called: who waits holds a shared
advisory lock, which those who might call try first (`seedcore.wake` and `seedcore.tell` in the schema). A call that is
lost in between is made up for by polling.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from seedcore.stores.postgres import DATABASE_ERRORS, Database

IDLE_LANE = 24301
"""Class of the advisory locks of dispatchers that wait; the key is the lane's name."""

FOLLOWED = 24302
"""Class of the advisory lock of those who follow events; the key is `events`."""

Heard = Callable[[Any, int, str, str], None]
"""Takes the connection, the server process, the channel and the payload."""


class Bell:
    """Listens on channels while `listen` runs."""

    def __init__(self, database: Database, channels: Mapping[str, Heard]) -> None:
        self._database, self._channels = database, channels
        self._connection: asyncpg.Connection | None = None
        self._busy = asyncio.Lock()

    async def listen(self, on_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Connect, listen, call `on_ready`; returns when the connection has ended."""
        connection = await self._database.connect()
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: closed.set())
            for channel, heard in self._channels.items():
                await connection.add_listener(channel, heard)
            self._connection = connection
            if on_ready is not None:
                await on_ready()
            await closed.wait()
        finally:
            self._connection = None
            # The server may have ended it; whoever cancelled this must not hear of that instead.
            with contextlib.suppress(*DATABASE_ERRORS, TimeoutError):
                await connection.close(timeout=2)

    async def tell(self, kind: int, key: str, *, waits: bool) -> bool:
        """Say that this process waits for `key`, or no longer; False when there is no connection to say it on."""
        connection = self._connection
        if connection is None:
            return False
        lock = "pg_advisory_lock_shared" if waits else "pg_advisory_unlock_shared"
        async with self._busy:
            try:
                await connection.execute(f"select {lock}($1, hashtext($2))", kind, key, timeout=5)
            except (*DATABASE_ERRORS, TimeoutError):
                connection.terminate()
                return False
        return True
