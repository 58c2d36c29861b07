"""Faults around a dispatcher: in each nothing is lost, nothing is completed twice, and it goes on by itself."""

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from seedcore.errors import UnavailableError
from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.embedded.embedded_server import EmbeddedServer
from seedcore.stores.migrate import migrate
from seedcore.tasks import reaping
from seedcore.tasks.events.event_log import START, read_log
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.reaper import Reaper
from tests.stores.embedded.embedded_support import kill, stop_all
from tests.worker.conftest import World
from tests.worker.task_engines import PostgresEngine
from tests.worker.twins.decider import FAST, ScriptedDecider, ScriptedPlanService
from tests.worker.twins.host_pool import InMemoryHostPool, good

pytestmark = pytest.mark.integration

QUICK = {"retry_base_s": 0.05, "poll_s": 0.1, "reap_s": 0.2, "lease_s": 4.0}
PROCESS = Path(__file__).with_name("dispatcher_process.py")
COMPLETED = """
select id, count(*) from (select unnest(task_ids) as id from seedcore.events where event = 'completed') e group by id
"""


CUT_OFF = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name = 'dispatcher'
  and (query ilike 'listen%' or query like '%pg_advisory_%lock_shared%')
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, to do harm to."""
    server = embedded_postgres(load_settings(data_dir=tmp_path / "own"))
    server.acquire()
    yield server
    server.release()
    stop_all(tmp_path / "own")


@pytest.fixture
async def own_world(server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[World]:
    settings = load_settings(data_dir=tmp_path / "own", **QUICK)
    await asyncio.to_thread(migrate, settings)
    engine = PostgresEngine(settings)
    yield World(settings, engine)
    await engine.database.aclose()


async def all_completed_once(world: World, ids: list[UUID], timeout_s: float = 40) -> None:
    ended = "select count(*) from seedcore.finished where id = any($1::uuid[]) and status = 'completed'"
    async with asyncio.timeout(timeout_s):
        # Backends outlive a killed postmaster for a moment: the pool may hand out one that is about to go.
        while (await rows(world, ended, ids))[0]["count"] < len(ids):
            await asyncio.sleep(0.05)
        counts = {row["id"]: row["count"] for row in await rows(world, COMPLETED)}
    assert set(counts.values()) == {1}
    assert counts.keys() >= set(ids)


async def submitted(world: World, count: int, **options: Any) -> list[UUID]:
    """The tasks that a client knows of who submits again when told to; some may be there twice, under other ids."""
    while True:
        with contextlib.suppress(UnavailableError):
            return await world.submit(*range(count), **options)


async def rows(world: World, query: str, *args: Any) -> list[asyncpg.Record]:
    """What `query` gives; asked again as long as the server is away."""
    while True:
        with contextlib.suppress(UnavailableError):
            async with world.database.connection(wait_s=30) as connection:
                return list(await connection.fetch(query, *args))


async def briefly(call: Call) -> Completion:
    await asyncio.sleep(random.uniform(0.01, 0.3))
    return good(call)


async def until(condition: Any, what: str, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        await asyncio.sleep(0.02)


async def test_a_killed_postgresql_loses_nothing(own_world: World, server: EmbeddedServer):
    async with own_world.dispatcher(ScriptedDecider(), InMemoryHostPool(briefly), dispatcher_room=20) as dispatcher:
        ids = await own_world.submit(*range(300), max_attempts=10)
        await until(lambda: dispatcher.status()["completed"] >= 20, "work to go on")
        killed = server.status()["pid"]
        await asyncio.to_thread(kill, killed)
        ids += await submitted(own_world, 50, max_attempts=10)
        await all_completed_once(own_world, ids)
        assert server.status()["pid"] != killed


async def test_without_a_free_connection_it_waits_and_goes_on(own_world: World, server: EmbeddedServer):
    eaten: list[asyncpg.Connection] = []

    async def eat() -> None:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                eaten.append(await asyncpg.connect(server.acquire()))

    theirs = "select {} from pg_stat_activity where application_name in ('dispatcher', 'test')"
    hosts = InMemoryHostPool(briefly)
    async with own_world.dispatcher(ScriptedDecider(), hosts, lease_s=30.0, dispatcher_room=20) as dispatcher:
        # More than can be done while the connections are eaten.
        ids = await own_world.submit(*range(1000))
        await until(lambda: dispatcher.status()["completed"] >= 20, "work to go on")
        await eat()
        async with asyncio.timeout(20):
            while await eaten[0].fetchval(theirs.format("count(*)")):
                await eaten[0].execute(theirs.format("pg_terminate_backend(pid)"))
                await eat()
        starved = dispatcher.status()["completed"]
        await asyncio.sleep(1)
        assert dispatcher.status()["completed"] == starved < len(ids)
        await asyncio.gather(*(connection.close() for connection in eaten))
        await all_completed_once(own_world, ids)
        assert dispatcher.status()["sessions"] == 1


async def test_a_server_made_read_only_interrupts_and_loses_nothing(pg_world: World):
    async def set_read_only(value: str) -> None:
        async with pg_world.database.connection() as connection:
            await connection.execute("set default_transaction_read_only = off")
            name = await connection.fetchval("select current_database()")
            await connection.execute(f"alter database {name} set default_transaction_read_only = {value}")
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'dispatcher' and datname = current_database()"
            )

    async with pg_world.dispatcher(ScriptedDecider(), InMemoryHostPool(briefly), lease_s=30.0) as dispatcher:
        ids = await pg_world.submit(*range(200))
        await until(lambda: dispatcher.status()["completed"] >= 10, "work to go on")
        await set_read_only("on")
        before = dispatcher.status()["interruptions"]
        await until(lambda: dispatcher.status()["interruptions"] > before + 1, "refusals")
        await set_read_only("off")
        await all_completed_once(pg_world, ids)
        assert dispatcher.status()["sessions"] == 1


async def test_a_transaction_left_open_slows_neither_tasks_nor_the_log(pg_world: World):
    async with pg_world.database.connection() as idle, idle.transaction():
        await idle.fetchval("select pg_current_xact_id()")
        async with pg_world.dispatcher(ScriptedDecider(), InMemoryHostPool(good)):
            times = []
            for _ in range(8):
                ids = await pg_world.submit(*range(500))
                began = time.monotonic()
                await all_completed_once_among(pg_world, ids)
                times.append(time.monotonic() - began)
        # Dead rows pile up behind the open transaction; claims do not wade through them.
        assert sorted(times[4:])[1] < 4 * sorted(times[:4])[1] + 1.5
        async with pg_world.database.connection() as connection:
            seen = await read_whole_log(connection)
    assert sum(len(ids) for event, ids in seen if event == "completed") == 4000


async def all_completed_once_among(world: World, ids: list[UUID]) -> None:
    async with world.database.connection() as connection, asyncio.timeout(20):
        while await connection.fetchval("select count(*) from seedcore.finished where id = any($1)", ids) < len(ids):
            await asyncio.sleep(0.02)


async def read_whole_log(connection: asyncpg.Connection) -> list[tuple[str, list[UUID]]]:
    position, seen = START, []
    while True:
        entries, position = await read_log(connection, position, 100)
        if not entries:
            return seen
        seen += [(entry.event, entry.task_ids) for entry in entries]


@pytest.mark.parametrize("days", [-30, -1, 1, 30])
async def test_a_clock_that_is_days_off_changes_nothing(pg_world: World, monkeypatch: pytest.MonkeyPatch, days: int):
    off, real, real_ns = days * 86_400, time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + off)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + off * 10**9)
    async with pg_world.dispatcher(ScriptedDecider(), InMemoryHostPool(briefly)) as dispatcher:
        ids = await pg_world.submit(*range(20))
        await all_completed_once(pg_world, ids)
        assert dispatcher.status()["sessions"] == 1
        async with pg_world.database.connection() as connection:
            assert (await reaping.reap(connection, pg_world.settings)).returned == 0
            left = await connection.fetchval(
                "select extract(epoch from max(expires_at) - now()) from seedcore.sessions"
            )
            place = await connection.fetchval("select distinct tableoid::regclass::text from seedcore.tasks")
    assert 0 < left <= pg_world.settings.lease_s
    assert (place == "seedcore.tasks_default") == (abs(days) > 4)


async def test_a_lost_notify_costs_no_more_than_a_poll(pg_world: World):
    decisions, hosts = ScriptedDecider(), InMemoryHostPool(good)
    async with pg_world.dispatcher(decisions, hosts, poll_s=0.6) as dispatcher:
        (first,) = await pg_world.submit(1)
        await pg_world.until(first, "completed")
        # Its lane is idle and looks at most every `poll_s` by now; nobody calls it.
        await asyncio.sleep(1)
        async with pg_world.database.connection() as connection, connection.transaction():
            task = TaskSpec("echo", '{"value": 2}')
            await connection.execute(
                "insert into seedcore.tasks (id, type, params, max_attempts) values ($1, 'echo', $2::jsonb, 3)",
                task.id,
                task.params,
            )
            await connection.execute("insert into seedcore.ready (id, queue, rank) values ($1, 'default', 0)", task.id)
        began = time.monotonic()
        await pg_world.until(task.id, "completed")
        assert time.monotonic() - began < 0.6 + 3
        assert dispatcher.status()["sessions"] == 1


async def test_a_listener_that_is_cut_off_listens_again(pg_world: World):
    heard: list[float] = []
    async with pg_world.dispatcher(ScriptedDecider(), InMemoryHostPool(good), poll_s=30.0):
        for n in range(4):
            (task_id,) = await pg_world.submit(n)
            began = time.monotonic()
            await pg_world.until(task_id, "completed")
            heard.append(time.monotonic() - began)
            async with pg_world.database.connection() as connection, asyncio.timeout(10):
                # It may have found the task while it was not listening again yet.
                while not await connection.fetch(CUT_OFF):
                    await asyncio.sleep(0.01)
    assert max(heard) < 5


@asynccontextmanager
async def process(world: World, name: str, lease_s: float) -> AsyncIterator[asyncio.subprocess.Process]:
    assert world.settings.pg_dsn is not None
    arguments = [str(PROCESS), world.settings.pg_dsn.get_secret_value(), name, str(lease_s)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await told(child, "runs")
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def told(child: asyncio.subprocess.Process, what: str) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(30):
        while line := (await child.stdout.readline()).decode():
            if line.startswith(what):
                return line
    raise AssertionError(f"it ended and never said {what!r}")


async def submit_sleepers(world: World, *seconds: float) -> list[UUID]:
    return await world.submit(*({"sleep_s": s} for s in seconds), max_attempts=5)


async def test_a_dispatcher_stopped_past_its_lease_changes_nothing_when_it_wakes(pg_world: World):
    async with process(pg_world, "paused", 1.0) as paused:
        (task_id,) = await submit_sleepers(pg_world, 0.5)
        assert (await told(paused, "began")).split() == ["began", str(task_id), "1"]
        paused.send_signal(signal.SIGSTOP)
        async with process(pg_world, "other", 1.0):
            record = await pg_world.until(task_id, "completed", timeout_s=20)
            assert (record.attempts, record.result) == (2, {"by": "other", "attempt": 2})
            # It wakes with a result in hand, writes it and is refused; then it works on under a new session.
            paused.send_signal(signal.SIGCONT)
            more = await submit_sleepers(pg_world, *[0.05] * 40)
            await all_completed_once(pg_world, [task_id, *more])
        (last,) = await submit_sleepers(pg_world, 0)
        assert (await pg_world.until(last, "completed", timeout_s=20)).result["by"] == "paused"
    assert (await pg_world.task(task_id)).result == {"by": "other", "attempt": 2}


async def test_a_dispatcher_killed_in_the_middle_loses_nothing(pg_world: World):
    async with process(pg_world, "killed", 1.0) as killed:
        ids = await submit_sleepers(pg_world, *[random.uniform(0, 0.5) for _ in range(200)])
        await told(killed, "began")
        async with asyncio.timeout(10):
            while not (done := await completed(pg_world, ids)):
                await asyncio.sleep(0.01)
        killed.kill()
        await killed.wait()
    assert done < len(ids)
    async with pg_world.dispatcher(ScriptedDecider(), InMemoryHostPool(good), reap_s=0.2):
        await all_completed_once(pg_world, ids)
    attempts = [(await pg_world.task(task_id)).attempts for task_id in ids]
    assert set(attempts) == {1, 2}


async def completed(world: World, ids: list[UUID]) -> int:
    async with world.database.connection() as connection:
        return int(await connection.fetchval("select count(*) from seedcore.finished where id = any($1)", ids))


async def test_a_thousand_waiting_goals_delay_no_fast_task(pg_world: World):
    plans = asyncio.Event()
    decisions = ScriptedDecider(lambda t: RouteDecision("plan", "goal", "test") if t.type == "goal" else FAST)

    async def plan(request: object) -> dict[str, Any]:
        await plans.wait()
        return {"steps": []}

    async with pg_world.dispatcher(
        decisions, InMemoryHostPool(good), ScriptedPlanService(plan), slow_slots=4, dispatcher_room=50
    ) as dispatcher:
        async with pg_world.database.connection() as connection:
            goals = [TaskSpec("goal", '{"goal": "y"}', slow=True, priority=100) for _ in range(1000)]
            await submit(connection, goals)
        await until(lambda: dispatcher.status()["slow"] == 4, "plans to be made")
        began = time.monotonic()
        await all_completed_once(pg_world, await pg_world.submit(*range(100)))
        assert time.monotonic() - began < 20
        assert dispatcher.status()["slow"] == 4


async def test_tasks_that_turn_out_slow_move_out_of_the_fast_ones_way(pg_world: World):
    """Their type does not say so, the Coordinator does: what has no place goes to the slow lane."""
    plans = asyncio.Event()

    def decide(task: Any) -> RouteDecision:
        return RouteDecision("plan", "size", "test") if task.priority == 9 else FAST

    async def plan(request: object) -> dict[str, Any]:
        await plans.wait()
        return {"steps": []}

    decisions, plans = ScriptedDecider(decide), ScriptedPlanService(plan)
    async with pg_world.dispatcher(decisions, InMemoryHostPool(good), plans, slow_slots=2, dispatcher_room=20):
        await pg_world.submit(*range(200), priority=9)
        began = time.monotonic()
        await all_completed_once(pg_world, await pg_world.submit(*range(50)))
        assert time.monotonic() - began < 20
        async with pg_world.database.connection() as connection:
            assert await connection.fetchval("select count(*) from seedcore.ready where slow") > 100
            assert await connection.fetchval("select count(*) from seedcore.ready where not slow") == 0


async def test_a_dispatcher_stands_in_for_the_reaper_and_gives_way(pg_world: World):
    async with pg_world.dispatcher(ScriptedDecider(), InMemoryHostPool(good), lease_s=1.0, reap_s=0.2) as dispatcher:
        await until(lambda: dispatcher.status()["stands_in_for_reaper"], "somebody to reap")
        due = datetime.now(UTC) + timedelta(seconds=0.5)
        (task_id,) = await pg_world.submit(1, run_after=due)
        await pg_world.until(task_id, "completed")
        # It is paused for longer than its time: the reaper's own process takes over, and it sees that.
        reaper = Reaper(pg_world.settings.model_copy(update={"reap_s": 0.2}), pg_world.database, "reaper")
        async with pg_world.database.connection() as connection:
            await connection.execute("update seedcore.leaders set expires_at = now() - interval '1 s'")
            running = asyncio.create_task(reaper.run())
            await until(lambda: reaper.leads, "the reaper to lead")
            await until(lambda: not dispatcher.status()["stands_in_for_reaper"], "the dispatcher to give way")
            assert await connection.fetchval("select count(*) from seedcore.leaders") == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        # It is gone without a word: somebody stands in again.
        await until(lambda: dispatcher.status()["stands_in_for_reaper"], "somebody to reap again", timeout_s=15)
