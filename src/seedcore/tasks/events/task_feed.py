"""The event feed of a process: one listener and one query a tick for all followers of single tasks, and the log of
everything for those who follow all of it. Both resume after an event's id (`Last-Event-ID`)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from seedcore.errors import UnavailableError
from seedcore.stores.advisory_locks import EVENT_FOLLOWERS
from seedcore.stores.postgres import DATABASE_ERRORS, ENGINE_SESSION, Database
from seedcore.tasks import queries
from seedcore.tasks.events.arrival_rate import ArrivalRate
from seedcore.tasks.events.event_log import LogEntry, Position, entries_of, read_log
from seedcore.tasks.events.notifications import NotificationListener
from seedcore.tasks.model import LAST_EVENTS, TaskEvent
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.utils.background_loop import stay_cancelled
from seedcore.utils.waiting import wait_for_event

CHANNEL = "seedcore_events"
QUIET_S = 30.0
"""The listener ends when there was no follower for this long."""

IDLE_PAUSE_S = 5.0
LOG_PAGE = 500
LOOKUPS, LOOKUPS_NAME = 4, "seedcore-lookups"

# From so many entries (one a commit) within `arrival_rate.WINDOW_S` on, it polls this often instead of being notified.
HIGH_RATE_COUNT = 20
HIGH_RATE_PAUSE_S = 0.005


class _Follower:
    __slots__ = ("last", "queue", "task_id")

    def __init__(self, task_id: UUID, last: int) -> None:
        self.task_id = task_id
        self.last = last
        # Bounded by the events of one task; a reader that stops reading is dropped with its connection.
        self.queue: asyncio.Queue[TaskEvent] = asyncio.Queue()


class EventFeed:
    """Hands events to those who follow them.

    A NOTIFY wakes it; polling every `poll_s` is the safety net for one that was lost. It does not query the
    database without followers.

    Attributes:
        lookups: connections for statements on single tasks, whose plans are made once: planning at every execution, as
            PostgreSQL would, takes ten times what the execution takes.
    """

    def __init__(self, database: Database, *, poll_s: float = 0.25) -> None:
        self._database = database
        self.lookups = Database(database.settings, size=LOOKUPS, session=ENGINE_SESSION, name=LOOKUPS_NAME)
        self._poll_s = poll_s
        self._followers: set[_Follower] = set()
        self._readers = 0
        self._wakes: set[asyncio.Event] = set()
        self._rate = ArrivalRate(HIGH_RATE_COUNT)
        self._notified = False
        self._gate = asyncio.Lock()
        self._listener = NotificationListener(database, {CHANNEL: lambda *_: self._wake_all()})
        self._tasks: list[asyncio.Task[None]] = []
        self._log = get_logger("seedcore.tasks.events.task_feed")

    async def follow(self, task_id: UUID, after: int = 0) -> AsyncGenerator[TaskEvent]:
        """The task's events after the event id `after`, until its last one; waits for those to come."""
        follower = _Follower(task_id, after)
        self._followers.add(follower)
        self._ensure_running()
        self._wake_all()
        try:
            while True:
                event = await follower.queue.get()
                yield event
                if event.event in LAST_EVENTS and follower.queue.empty():
                    return
        finally:
            self._followers.discard(follower)

    async def follow_all(self, after: Position | None = None, tenant: str | None = None) -> AsyncGenerator[LogEntry]:
        """Everything that happens, from now on or after an entry's position; waits for what is to come.

        Of a `tenant`: what happens to its tasks, without the ids of others.

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
                    near = position is None or position.is_settled
                    async with (self.lookups if near else self._database).connection() as connection:
                        entries, position = await read_log(connection, position, LOG_PAGE, near=near)
                        shown = entries if tenant is None else await entries_of(connection, entries, tenant)
                    for entry in shown:
                        yield entry
                    self._rate.record(len(entries))
                    if len(entries) < LOG_PAGE and position.is_settled:
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
        await self.lookups.aclose()

    def _wake_all(self) -> None:
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
                asyncio.create_task(self._listen(), name="event-listener"),
            ]

    async def _run(self) -> None:
        """Deliver to the followers of single tasks, until there was no follower for a while."""
        idle_since = time.monotonic()
        try:
            async with self._waking() as wake:
                while self._followers or self._readers or time.monotonic() - idle_since < QUIET_S:
                    wake.clear()
                    if self._followers or self._readers:
                        idle_since = time.monotonic()
                    if self._followers:
                        self._rate.record(await self._deliver())
                        await self._rest(wake)
                    else:
                        await wait_for_event(wake, IDLE_PAUSE_S)
        finally:
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()

    async def _listen(self) -> None:
        while True:
            listening = asyncio.create_task(self._listener.listen(on_ready=self._on_listening))
            try:
                await listening
            except DATABASE_ERRORS as error:
                stay_cancelled(error)
                counter("seedcore_fallbacks_total").add(1, fallback="polling")
                self._log.warning("cannot listen, polling instead", reason=type(error).__name__)
            finally:
                listening.cancel()
            await asyncio.sleep(self._poll_s)

    async def _on_listening(self) -> None:
        async with self._gate:
            self._notified = await self._listener.set_waiting(EVENT_FOLLOWERS, "events", waiting=True)
        # There was no notification of what happened before.
        self._wake_all()

    async def _rest(self, wake: asyncio.Event) -> None:
        """Wait until it is worth another query."""
        if self._rate.high:
            await self._set_notified(False)
            await asyncio.sleep(HIGH_RATE_PAUSE_S)
        elif not await self._set_notified(True):
            await wait_for_event(wake, self._poll_s)

    async def _set_notified(self, wanted: bool) -> bool:
        """Let writers send NOTIFY, or not; True when they do from now on: there was none for what they wrote before."""
        async with self._gate:
            if self._notified == wanted:
                return False
            if not await self._listener.set_waiting(EVENT_FOLLOWERS, "events", waiting=wanted):
                return False
            self._notified = wanted
            return wanted

    async def _deliver(self) -> int:
        """Deliver new events; returns how many."""
        followers = list(self._followers)
        try:
            async with self.lookups.connection(wait_s=5) as connection:
                events = await queries.events_of_many(connection, [(f.task_id, f.last) for f in followers])
        except (UnavailableError, asyncpg.PostgresError, OSError) as error:  # a TimeoutError is an OSError
            # One bad round must not end the others' streams: the next one makes up for it.
            self._log.warning("event delivery failed, retrying", reason=f"{type(error).__name__}: {error}")
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
