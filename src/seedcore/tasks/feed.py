"""Following tasks as they go: one listener and one query a tick for all followers of a process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from uuid import UUID

import asyncpg

from seedcore.errors import UnavailableError
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.model import LAST_EVENTS, Event
from seedcore.utils.logs import get_logger

CHANNEL = "seedcore_events"


class _Follower:
    __slots__ = ("last", "queue", "task_id")

    def __init__(self, task_id: UUID, last: int) -> None:
        self.task_id = task_id
        self.last = last
        # Bounded by the events of one task; a reader that stops reading is dropped with its connection.
        self.queue: asyncio.Queue[Event] = asyncio.Queue()


class EventFeed:
    """Hands the events of followed tasks to their followers.

    A NOTIFY wakes it; polling every `poll_s` is the safety net for one that was lost. It asks nothing of the
    database while nobody follows.
    """

    def __init__(self, database: Database, *, poll_s: float = 0.25) -> None:
        self._database = database
        self._poll_s = poll_s
        self._followers: set[_Follower] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("seedcore.tasks.feed")

    async def follow(self, task_id: UUID, after: int = 0) -> AsyncGenerator[Event]:
        """The task's events after the event id `after`, until its last one; waits for those to come."""
        follower = _Follower(task_id, after)
        self._followers.add(follower)
        self._ensure_running()
        self._wake.set()
        try:
            while True:
                event = await follower.queue.get()
                yield event
                if event.event in LAST_EVENTS and follower.queue.empty():
                    return
        finally:
            self._followers.discard(follower)

    async def wait_ended(self, task_id: UUID, timeout_s: float) -> bool:
        """Wait until the task has ended; False when `timeout_s` passed first."""
        try:
            async with asyncio.timeout(timeout_s):
                async with contextlib.aclosing(self.follow(task_id)) as events:
                    async for event in events:
                        if event.event in LAST_EVENTS:
                            return True
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _ensure_running(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="event-feed")

    async def _run(self) -> None:
        listener: asyncpg.Connection | None = None
        idle_since = time.monotonic()
        try:
            while self._followers or time.monotonic() - idle_since < 30:
                if listener is None or listener.is_closed():
                    listener = await self._listen()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._poll_s if self._followers else 5)
                self._wake.clear()
                if self._followers:
                    idle_since = time.monotonic()
                    await self._deliver()
        finally:
            if listener is not None:
                await listener.close()

    async def _listen(self) -> asyncpg.Connection | None:
        try:
            listener = await self._database.connect()
            await listener.add_listener(CHANNEL, lambda *_: self._wake.set())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, UnavailableError) as error:
            self._log.warning("cannot listen, polling goes on", reason=type(error).__name__)
            return None
        return listener

    async def _deliver(self) -> None:
        followers = list(self._followers)
        try:
            async with self._database.connection(wait_s=5) as connection:
                events = await queries.events_of_many(connection, [(f.task_id, f.last) for f in followers])
        except (UnavailableError, asyncpg.PostgresError, OSError) as error:  # a TimeoutError is an OSError
            # One bad round must not end the others' streams: the next one makes up for it.
            self._log.warning("events are late", reason=f"{type(error).__name__}: {error}")
            return
        by_task: dict[UUID, list[Event]] = {}
        for event in events:
            by_task.setdefault(event.task_id, []).append(event)
        for follower in followers:
            for event in by_task.get(follower.task_id, ()):
                if event.id > follower.last:
                    follower.last = event.id
                    follower.queue.put_nowait(event)
