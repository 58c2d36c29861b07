"""The task engine as clients of a worker see it: in PostgreSQL, and in memory. Tests run on either."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from seedcore.settings import Settings
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import commands, queries, reaping, sessions
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.tasks.submission.submit import submit
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import LeaseStore
from seedcore.worker.reaper import Reaper
from tests.worker.twins.lease_store import InMemoryLeaseStore


class TaskEngine(Protocol):
    """What tests do to tasks, and the lease stores of dispatchers on them."""

    async def submit(self, tasks: Sequence[TaskSpec]) -> list[UUID]: ...

    async def task(self, task_id: UUID) -> TaskRecord: ...

    async def events(self, task_id: UUID) -> list[str]: ...

    async def steps(self, task_id: UUID) -> list[TaskRecord]: ...

    async def cancel(self, task_id: UUID) -> None: ...

    async def approve(self, task_id: UUID) -> None: ...

    async def expire_sessions(self) -> None: ...

    async def reap(self) -> int: ...

    async def age_leases(self) -> None: ...

    async def take_over(self, session: UUID, actor: str, last: LastSession) -> None: ...

    def lease_store(self, settings: Settings) -> "AbstractStore": ...


class AbstractStore(Protocol):
    async def __aenter__(self) -> tuple[LeaseStore, Reaper | None]: ...

    async def __aexit__(self, *error: object) -> None: ...


class PostgresEngine:
    """Tasks in a database of the test's own."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.database = settings, Database(settings, name="test")

    async def submit(self, tasks: Sequence[TaskSpec]) -> list[UUID]:
        async with self.database.connection() as connection:
            return [item.id for item in await submit(connection, tasks)]

    async def task(self, task_id: UUID) -> TaskRecord:
        async with self.database.connection() as connection:
            return await queries.get(connection, task_id)

    async def events(self, task_id: UUID) -> list[str]:
        async with self.database.connection() as connection:
            return [event.event for event in await queries.events_of(connection, task_id)]

    async def steps(self, task_id: UUID) -> list[TaskRecord]:
        async with self.database.connection() as connection:
            return await queries.children(connection, task_id)

    async def cancel(self, task_id: UUID) -> None:
        async with self.database.connection() as connection:
            await commands.cancel(connection, task_id)

    async def approve(self, task_id: UUID) -> None:
        async with self.database.connection() as connection:
            await commands.approve(connection, task_id)

    async def expire_sessions(self) -> None:
        async with self.database.connection() as connection:
            await connection.execute("update seedcore.sessions set expires_at = now() - interval '1 minute'")

    async def reap(self) -> int:
        async with self.database.connection() as connection:
            return (await reaping.reap(connection, self.settings)).returned

    async def age_leases(self) -> None:
        async with self.database.connection() as connection:
            await connection.execute("update seedcore.leases set leased_at = now() - interval '1 minute'")

    async def take_over(self, session: UUID, actor: str, last: LastSession) -> None:
        async with self.database.connection() as connection:
            await sessions.open_session(connection, session, "test", "default", 60.0, actor, last)

    @asynccontextmanager
    async def lease_store(self, settings: Settings) -> AsyncIterator[tuple[LeaseStore, Reaper | None]]:
        database = Database(settings, session=ENGINE_SESSION, name="dispatcher")
        try:
            yield PostgresLeaseStore(database), Reaper(settings, database, "test")
        finally:
            await database.aclose()


class MemoryEngine:
    """Tasks in memory: no server, no socket."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.store = settings, InMemoryLeaseStore()

    async def submit(self, tasks: Sequence[TaskSpec]) -> list[UUID]:
        return self.store.submit(tasks)

    async def task(self, task_id: UUID) -> TaskRecord:
        return self.store.record(task_id)

    async def events(self, task_id: UUID) -> list[str]:
        return list(self.store.tasks[task_id].events)

    async def steps(self, task_id: UUID) -> list[TaskRecord]:
        return [self.store.record(task.new.id) for task in self.store.tasks.values() if task.parent_id == task_id]

    async def cancel(self, task_id: UUID) -> None:
        self.store.cancel(task_id)

    async def approve(self, task_id: UUID) -> None:
        self.store.approve(task_id)

    async def expire_sessions(self) -> None:
        for session in self.store.sessions.values():
            session.expires_at = float("-inf")

    async def reap(self) -> int:
        return self.store.reap()

    async def age_leases(self) -> None:
        for task in self.store.tasks.values():
            if task.leased_at is not None:
                task.leased_at -= timedelta(minutes=1)

    async def take_over(self, session: UUID, actor: str, last: LastSession) -> None:
        await self.store.open_session(session, "test", "default", 60.0, actor, last)

    @asynccontextmanager
    async def lease_store(self, settings: Settings) -> AsyncIterator[tuple[LeaseStore, Reaper | None]]:
        yield self.store, None
