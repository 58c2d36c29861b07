"""Following tasks as they go: one listener and one query a tick for all followers of single tasks in a process, and
the log of everything for those who follow all of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from seedcore.errors import UnavailableError
from seedcore.stores.advisory_locks import EVENT_FOLLOWERS
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks import queries
from seedcore.tasks.events.arrival_rate import ArrivalRate
from seedcore.tasks.events.event_log import LogEntry, Position, read_log
from seedcore.tasks.events.notifications import NotificationListener
from seedcore.tasks.model import LAST_EVENTS, TaskEvent
from seedcore.telemetry.logs import get_logger
from seedcore.utils.background_loop import stay_cancelled

CHANNEL = "seedcore_events"
QUIET_S = 30.0
"""The listener goes when nobody has followed for this long."""

LOG_PAGE = 500

# Entries (one a commit) within `flow.WINDOW_S` that make it look this often instead of being called.
FLOW_COUNT = 20
FLOW_PAUSE_S = 0.005


class _Follower:
    __slots__ = ("last", "queue", "task_id")

    def __init__(self, task_id: UUID, last: int) -> None:
        self.task_id = task_id
        self.last = last
        # Bounded by the events of one task; a reader that stops reading is dropped with its connection.
        self.queue: asyncio.Queue[TaskEvent] = asyncio.Queue()


class EventFeed:
    """Hands events to those who follow them.

    A NOTIFY wakes it; polling every `poll_s` is the safety net for one that was lost. It asks nothing of the
    database while nobody follows.
    """

    def __init__(self, database: Database, *, poll_s: float = 0.25) -> None:
        self._database = database
        self._poll_s = poll_s
        self._followers: set[_Follower] = set()
        self._readers = 0
        self._wakes: set[asyncio.Event] = set()
        self._flow = ArrivalRate(FLOW_COUNT)
        self._called = False
        self._gate = asyncio.Lock()
        self._bell = NotificationListener(database, {CHANNEL: lambda *_: self._rouse()})
        self._tasks: list[asyncio.Task[None]] = []
        self._log = get_logger("seedcore.tasks.events.task_feed")

    async def follow(self, task_id: UUID, after: int = 0) -> AsyncGenerator[TaskEvent]:
        """The task's events after the event id `after`, until its last one; waits for those to come."""
        follower = _Follower(task_id, after)
        self._followers.add(follower)
        self._ensure_running()
        self._rouse()
        try:
            while True:
                event = await follower.queue.get()
                yield event
                if event.event in LAST_EVENTS and follower.queue.empty():
                    return
        finally:
            self._followers.discard(follower)

    async def follow_all(self, after: Position | None = None) -> AsyncGenerator[LogEntry]:
        """Everything that happens, from now on or after an entry's position; waits for what is to come.

        Raises:
            UnavailableError: the database was away for long; go on from the last position.
        """
        position = after
        self._readers += 1
        self._ensure_running()
        try:
            async with self._waking() as wake:
                while True:
                    wake.clear()
                    async with self._database.connection() as connection:
                        entries, position = await read_log(connection, position, LOG_PAGE)
                    for entry in entries:
                        yield entry
                    self._flow.record(len(entries))
                    if len(entries) < LOG_PAGE:
                        await self._rest(wake)
        finally:
            self._readers -= 1

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def _rouse(self) -> None:
        for wake in self._wakes:
            wake.set()

    @asynccontextmanager
    async def _waking(self) -> AsyncIterator[asyncio.Event]:
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            yield wake
        finally:
            self._wakes.discard(wake)

    def _ensure_running(self) -> None:
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            self._tasks = [
                asyncio.create_task(self._run(), name="event-feed"),
                asyncio.create_task(self._listen(), name="event-bell"),
            ]

    async def _run(self) -> None:
        """Deliver to the followers of single tasks, until nobody has followed anything for a while."""
        idle_since = time.monotonic()
        try:
            async with self._waking() as wake:
                while self._followers or self._readers or time.monotonic() - idle_since < QUIET_S:
                    wake.clear()
                    if self._followers or self._readers:
                        idle_since = time.monotonic()
                    if self._followers:
                        self._flow.record(await self._deliver())
                        await self._rest(wake)
                    else:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(5):
                                await wake.wait()
        finally:
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()

    async def _listen(self) -> None:
        while True:
            listening = asyncio.create_task(self._bell.listen(on_ready=self._said))
            try:
                await listening
            except DATABASE_ERRORS as error:
                stay_cancelled(error)
                self._log.warning("cannot listen, polling goes on", reason=type(error).__name__)
            finally:
                listening.cancel()
            await asyncio.sleep(self._poll_s)

    async def _said(self) -> None:
        async with self._gate:
            self._called = await self._bell.set_waiting(EVENT_FOLLOWERS, "events", waiting=True)
        # What happened before that was not called out.
        self._rouse()

    async def _rest(self, wake: asyncio.Event) -> None:
        """Until it is worth another look."""
        if self._flow.high:
            await self._be_called(False)
            await asyncio.sleep(FLOW_PAUSE_S)
        elif not await self._be_called(True):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await wake.wait()

    async def _be_called(self, wanted: bool) -> bool:
        """Let writers call, or not; True when they do from now on: what they wrote before nobody called out."""
        async with self._gate:
            if self._called == wanted or not await self._bell.set_waiting(EVENT_FOLLOWERS, "events", waiting=wanted):
                return False
            self._called = wanted
            return wanted

    async def _deliver(self) -> int:
        """Hand out what is new; how many events there were."""
        followers = list(self._followers)
        try:
            async with self._database.connection(wait_s=5) as connection:
                events = await queries.events_of_many(connection, [(f.task_id, f.last) for f in followers])
        except (UnavailableError, asyncpg.PostgresError, OSError) as error:  # a TimeoutError is an OSError
            # One bad round must not end the others' streams: the next one makes up for it.
            self._log.warning("events are late", reason=f"{type(error).__name__}: {error}")
            return 0
        by_task: dict[UUID, list[TaskEvent]] = {}
        for event in events:
            by_task.setdefault(event.task_id, []).append(event)
        for follower in followers:
            for event in by_task.get(follower.task_id, ()):
                if event.id > follower.last:
                    follower.last = event.id
                    follower.queue.put_nowait(event)
        return len(events)
