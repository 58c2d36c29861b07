"""A roll: the release before and this one work on one database while it is migrated, and nothing is lost or done twice.

What runs here are the engines, not their Ray actors: workers that claim, complete, retry, give back and die, those who
submit, and reapers, each with the statements of its release.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.errors import ConflictError, SchemaBehindError
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores import migrate as migrations
from seedcore.stores.migrate import migrate, newest
from seedcore.stores.postgres import ENGINE_SESSION, SCHEMA_VERSION, Database
from seedcore.tasks import leases, model, reaping, sessions
from seedcore.tasks.schedules import firing, repository
from seedcore.tasks.schedules.schedule import ScheduleIn
from seedcore.tasks.submission import submit
from seedcore.tasks.submission.validate import Submission

from .release_0_1_0 import leases as old_leases
from .release_0_1_0 import model as old_model
from .release_0_1_0 import reap as old_reap
from .release_0_1_0 import submit as old_submit

pytestmark = pytest.mark.integration
LEASE_S = 1.0
BACKLOG = 400


class Engine(NamedTuple):
    """A release's engine."""

    name: str
    sessions: ModuleType
    leases: ModuleType
    submit: ModuleType
    reaping: ModuleType
    model: ModuleType
    task: type[Any]


OLD = Engine("old", old_leases, old_leases, old_submit, old_reap, old_model, old_model.NewTask)
NEW = Engine("new", sessions, leases, submit, reaping, model, model.TaskSpec)


class Roll:
    """What both releases did, for the judge."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.submitted: set[UUID] = set()
        self.completed: Counter[UUID] = Counter()
        self.done_by: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.random = random.Random(7)
        self.drain = asyncio.Event()
        self.submitters = 0

    @asynccontextmanager
    async def connection(self, engine: Engine):
        """A connection as the release makes it: this one's refuses a schema that it does not know."""
        if engine is OLD:
            dsn = self.settings.pg_dsn.get_secret_value()
            connection = await asyncpg.connect(dsn, server_settings=ENGINE_SESSION)
            try:
                assert await connection.fetchval("select version_num from seedcore.schema_version") >= "0010"
                yield connection
            finally:
                await connection.close()
            return
        database = Database(self.settings, size=1, session=ENGINE_SESSION)
        try:
            while True:
                try:
                    async with database.connection():
                        break
                except SchemaBehindError:
                    self.seen["new release waited for the schema"] += 1
                    await asyncio.sleep(0.1)
            async with database.connection() as connection:
                yield connection
        finally:
            await database.aclose()

    async def work(self, engine: Engine, stop: asyncio.Event) -> None:
        """A worker: claims and ends what it claimed, and now and then dies with all it holds."""
        async with self.connection(engine) as connection:
            while not stop.is_set():
                await self._live(engine, connection, stop)

    async def _live(self, engine: Engine, connection: asyncpg.Connection, stop: asyncio.Event) -> None:
        session, beat = uuid4(), time.monotonic()
        await engine.sessions.open_session(connection, session, f"{engine.name} worker", "default", LEASE_S)
        outcomes: list[Any] = []
        while not stop.is_set():
            await asyncio.sleep(0.01)
            if time.monotonic() - beat > LEASE_S / 4:
                beat = time.monotonic()
                pulse = await engine.sessions.heartbeat(connection, session, LEASE_S, holding=0, claimed=True)
                if not pulse.alive:
                    self.seen["sessions lost"] += 1
                    return
            batch = await self._turn(engine, connection, session, outcomes)
            self.seen[f"{engine.name} turns"] += 1
            if self.seen[f"{engine.name} turns"] % 12 == 0:
                self.seen[f"{engine.name} workers died"] += 1
                return
            outcomes = await self._end(engine, connection, batch)
        await self._finish(engine, connection, outcomes)
        await engine.sessions.close_session(connection, session)

    async def _turn(
        self, engine: Engine, connection: asyncpg.Connection, session: UUID, outcomes: list[Any]
    ) -> list[Any]:
        """Every other turn in one statement, as a busy dispatcher does it; the others one after the other."""
        plain = [outcome for outcome in outcomes if not outcome.follow_up]
        if plain and self.random.random() < 0.5:
            accepted, batch = await engine.leases.finish_and_claim(connection, plain, "default", session, 20)
            self._note(engine, accepted)
            await self._finish(engine, connection, [o for o in outcomes if o.follow_up])
            return batch
        await self._finish(engine, connection, outcomes)
        return await engine.leases.claim(connection, "default", session, 20)

    async def _finish(self, engine: Engine, connection: asyncpg.Connection, outcomes: list[Any]) -> None:
        if outcomes:
            self._note(engine, await engine.leases.finish(connection, outcomes))

    def _note(self, engine: Engine, ids: set[UUID]) -> None:
        self.completed.update(ids)
        self.done_by[engine.name] += len(ids)

    async def _end(self, engine: Engine, connection: asyncpg.Connection, batch: list[Any]) -> list[Any]:
        """Complete most, try some again later, give some back."""
        outcomes, again, back = [], [], []
        for lease in batch:
            chance = self.random.random()
            if chance < 0.1:
                again.append(engine.model.Retry(lease.id, lease.token, 0.05, "boom", "it broke", lease.limit_key))
            elif chance < 0.2:
                back.append((lease.id, lease.token))
            else:
                status = engine.model.Status.COMPLETED
                result = json.dumps({"by": engine.name})
                outcomes.append(engine.model.Outcome(lease.id, lease.token, status, result, follow_up=lease.follow_up))
        if again:
            await engine.leases.retry(connection, again)
        if back:
            await engine.leases.release(connection, back)
        return outcomes

    async def submit(self, engine: Engine, stop: asyncio.Event) -> None:
        """Submit tasks of every kind, while not too many wait. Both releases use the same idempotency keys."""
        async with self.connection(engine) as connection:
            self.submitters += 1
            for n in range(10**6):
                if stop.is_set() or self.drain.is_set():
                    self.submitters -= 1
                    return
                tasks = [engine.task("echo", '{"value": 1}', priority=p, max_attempts=100) for p in range(15)]
                later = datetime.now(UTC) + timedelta(seconds=0.1)
                tasks[0].run_after = later
                tasks[1].limit = engine.model.Limit("one at a time", 2)
                tasks[2].idempotency_key = f"shared-{n}"
                tasks[3].deadline = datetime.now(UTC) + timedelta(hours=1)
                answers = await engine.submit.submit(connection, tasks[:2])
                answers += await engine.submit.submit(connection, tasks[2:])
                self.submitted |= {answer.id for answer in answers}
                self.seen["keys that the other release had used"] += sum(not answer.created for answer in answers)
                await asyncio.sleep(0.02)
                while len(self.submitted) - len(self.completed) > BACKLOG and not stop.is_set():
                    await asyncio.sleep(0.02)

    async def reap(self, engine: Engine, stop: asyncio.Event) -> None:
        """A reaper; it gives the lead away now and then, so that both releases lead."""
        owner = uuid4()
        async with self.connection(engine) as connection:
            while not stop.is_set():
                await asyncio.sleep(0.05)
                outlook = await engine.reaping.lead(connection, owner, 1.0)
                if not outlook.leads:
                    continue
                self.seen[f"rounds of the {engine.name} reaper"] += 1
                await engine.reaping.reap(connection, self.settings)
                if engine is NEW:
                    self.seen["ticks fired"] += (await firing.fire(connection)).fired
                if self.random.random() < 0.3:
                    await engine.reaping.resign(connection, owner)
                    await asyncio.sleep(0.1)
            await engine.reaping.resign(connection, owner)

    @asynccontextmanager
    async def running(self, engine: Engine):
        """Two workers, a submitter and a reaper of a release; ends them in order, and tells what broke in them."""
        stop = asyncio.Event()
        parts: list[Callable[[Engine, asyncio.Event], Awaitable[None]]] = [self.work, self.work, self.submit, self.reap]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part(engine, stop))
            yield
            stop.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not enough():
                await asyncio.sleep(0.02)


async def judge(roll: Roll) -> None:
    """Nothing lost, nothing twice: by the workers' own word, and by the database's."""
    connection = await asyncpg.connect(roll.settings.pg_dsn.get_secret_value())
    try:
        stored = {row[0] for row in await connection.fetch("select id from seedcore.tasks")}
        fired = {
            row[0] for row in await connection.fetch("select id from seedcore.tasks where idempotency_key ~ '^sch'")
        }
        assert stored == roll.submitted | fired
        assert len(fired) == roll.seen["ticks fired"] > 0
        assert set(roll.completed) == stored
        assert set(roll.completed.values()) == {1}
        finished = {
            row[0] for row in await connection.fetch("select id from seedcore.finished where status = 'completed'")
        }
        assert finished == stored
        said = await connection.fetch(
            "select id, count(*) from seedcore.events, unnest(task_ids) id where event = 'completed' group by id"
        )
        assert {row["id"]: row["count"] for row in said} == dict.fromkeys(stored, 1)
        for table in ("ready", "deferred", "gated", "leases", "held", "dead"):
            assert await connection.fetchval(f"select count(*) from seedcore.{table}") == 0, table
    finally:
        await connection.close()


def bring_to(settings: Settings, revision: str) -> None:
    """Migrate up to `revision` and no further."""
    with migrations._locked(settings) as connection:
        migrations._Run(connection, migrations.MIGRATIONS).upgrade(revision)


async def a_schedule(settings: Settings) -> None:
    database = Database(settings, size=1)
    try:
        async with database.connection() as connection:
            given = ScheduleIn(id="s", task={"type": "echo", "params": {"value": 1}, "max_attempts": 100}, every_s=1)
            await repository.create(connection, Submission(settings, SkillRegistry.load(settings)), given)
    finally:
        await database.aclose()


async def until_the_roll_ends(settings: Settings) -> str:
    """Run what comes after a roll; workers that died count as alive until their sessions end."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await asyncio.to_thread(migrate, settings, "after")
            except ConflictError:
                await asyncio.sleep(0.1)


async def drain(roll: Roll) -> None:
    """Let nobody submit any more, and wait until every task has ended."""
    roll.drain.set()
    connection = await asyncpg.connect(roll.settings.pg_dsn.get_secret_value())
    await connection.execute("delete from seedcore.schedules")
    await roll.until(lambda: roll.submitters == 0)
    async with asyncio.timeout(60):
        while await connection.fetchval(
            "select exists (select from seedcore.tasks where id not in (select id from seedcore.ended))"
        ):
            await asyncio.sleep(0.05)
    await connection.close()


async def test_both_releases_work_through_a_roll(empty_pg_settings: Settings):
    settings = empty_pg_settings.model_copy(update={"retry_base_s": 0.05})
    await asyncio.to_thread(bring_to, settings, "0010")
    roll = Roll(settings)
    async with AsyncExitStack() as new_release:
        async with roll.running(OLD):
            # The new release's processes are there before the schema is, and wait for it.
            await new_release.enter_async_context(roll.running(NEW))
            await roll.until(lambda: roll.done_by["old"] > 300)
            assert roll.done_by["new"] == 0
            assert roll.seen["new release waited for the schema"] > 0

            assert await asyncio.to_thread(migrate, settings, "before") == SCHEMA_VERSION
            await a_schedule(settings)
            old = roll.done_by["old"]
            await roll.until(lambda: roll.done_by["old"] > old + 300 and roll.done_by["new"] > 300)
        assert await until_the_roll_ends(settings) == newest()
        new = roll.done_by["new"]
        await roll.until(lambda: roll.done_by["new"] > new + 300)
        await drain(roll)
    for what in ("old workers died", "new workers died", "rounds of the old reaper", "rounds of the new reaper"):
        assert roll.seen[what] > 0, what
    assert roll.seen["keys that the other release had used"] > 0
    await judge(roll)
