"""A process as the host of several organs' agents: what it runs, reports, saves, and how it ends itself."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from seedcore import __version__
from seedcore.errors import NotFoundError
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import Settings
from seedcore.skills import SkillContext, SkillRegistry, skill
from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.skills.skill_decorator import MARK
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, sessions
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.worker.hosting.organ_terms import OrganTerms
from seedcore.worker.hosting.self_end import EXIT_REPLACED
from seedcore.worker.hosting.skill_host import SkillHost


class Value(BaseModel):
    value: Any = None


GO = threading.Event()
WARMED: list[str] = []
HOSTS: list[SkillHost] = []


async def warm_up(clients: Any) -> None:
    if clients is None:
        raise RuntimeError("no clients yet")
    WARMED.append("echo")


@skill("echo", organ="quick", warm_up=warm_up)
async def echo(params: Value, context: SkillContext) -> Value:
    return params


@skill("remember", organ="minds")
async def remember(params: Value, context: SkillContext) -> Value:
    assert context.memory is not None
    await context.memory.set("seen", params.value)
    return Value(value=await context.memory.get("seen"))


@skill("wait", organ="slow", timeout_s=60)
async def wait(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(60)
    return params


@skill("block", organ="quick", timeout_s=60)
async def block(params: Value, context: SkillContext) -> Value:
    """Keeps the loop until GO."""
    GO.wait(30)
    return params


@skill("stay", organ="slow", timeout_s=0.2)
def stay(params: Value, context: SkillContext) -> Value:
    """Goes on after its time limit, until GO."""
    GO.wait(30)
    return params


SKILLS = SkillRegistry([getattr(f, MARK) for f in (echo, remember, wait, block, stay)])


class Ends:
    """Stands in for the end of the process, and for the worker that is told of it first."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.told: list[Mapping[str, str]] = []
        self.kept: list[Collection[int]] = []
        self.returned_when_told: list[str] = []
        self.done: dict[str, Completion] = {}

    def take(self, chunk: list[Completion]) -> None:
        self.done.update((c.task_id, c) for c in chunk)

    async def on_end(self, why: Mapping[str, str]) -> None:
        self.told.append(why)
        self.returned_when_told += self.done
        await asyncio.sleep(0.1)

    def clear(self, keep: Collection[int] = ()) -> None:
        self.kept.append(keep)


class Progress:
    """What skills have told of their progress."""

    def __init__(self, reports: list[tuple[UUID, int, str]]) -> None:
        self.reports, self.written = reports, False

    async def run(self, write: Callable[[Any], Awaitable[None]]) -> None:
        await write(self.reports)
        self.written = True


def call(name: str, task: str, agent: str = "quick-0001", token: int = 7) -> Call:
    return Call(task, token, 1, name, json.dumps({"value": task}), agent, None, "key-1")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def made(settings: Settings, ends: Ends | None = None, clients: Any = "own", **more: Any) -> SkillHost:
    ends = ends or Ends()
    table = {"echo": "quick", "remember": "minds", "wait": "slow"}
    host = SkillHost(
        "seedcore-dispatcher-0",
        settings,
        SKILLS,
        SkillServiceClients(settings) if clients == "own" else clients,
        lambda name: table.get(name, ""),
        on_end=ends.on_end,
        exit=ends.codes.append,
        **more,
    )
    HOSTS.append(host)
    return host


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Nothing of a host goes on when its test has ended."""
    GO.clear()
    WARMED.clear()
    yield
    GO.set()
    while HOSTS:
        await HOSTS.pop().close()


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    opened = Database(pg_settings)
    yield opened
    await opened.aclose()


async def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    async with database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(statement)]


async def test_calls_run_by_stream_by_callback_and_one_by_one(settings: Settings):
    host, ends = made(settings), Ends()
    host.submit([call("echo", "t-1"), call("wait", "t-2")], ends.take)
    assert (await host.execute(call("echo", "t-3"))).ok
    assert [c.task_id async for chunk in host.run([call("echo", "t-4")]) for c in chunk] == ["t-4"]
    await until(lambda: "t-1" in ends.done)
    assert host.running == 1
    assert await host.cancel(["t-2"]) == 1
    await until(lambda: host.bridge.open_streams == 0)
    assert ends.done["t-2"].error_code == "cancelled"
    status = host.status()
    assert {k: status[k] for k in ("host", "organ", "version", "agents", "running")} == {
        "host": "seedcore-dispatcher-0",
        "organ": "",
        "version": __version__,
        "agents": 2,
        "running": 0,
    }


async def test_skills_of_organs_that_come_to_live_here_are_warmed_up_once(settings: Settings):
    host = made(settings)
    assert "cold" not in host.status()
    host.set_organs({"slow": OrganTerms()})
    host.set_organs({"slow": OrganTerms(), "quick": OrganTerms()})
    host.set_organs({"quick": OrganTerms.of({"host_threads": 2})})
    await until(lambda: WARMED and "cold" not in host.status())
    await asyncio.sleep(0.05)
    assert WARMED == ["echo"]
    cold = made(settings, clients=None, organs={"quick": OrganTerms()})
    await until(lambda: cold.status()["cold"] == {"echo": "RuntimeError: no clients yet"})


async def test_agents_are_re_employed_in_the_organ_where_they_work_else_where_their_name_says(settings: Settings):
    host = made(settings)
    await host.execute(call("echo", "t-1", "moved-0001"))
    host.employ(["moved-0001", "slow-0002"])
    assert {r.organ: list(r.agents) for r in host.executors.registries} == {
        "quick": ["moved-0001"],
        "slow": ["slow-0002"],
    }
    with pytest.raises(NotFoundError, match="No organ is known to have the agents nameless"):
        host.employ(["slow-0003", "nameless"])
    assert "slow-0003" not in host.executors.agents_of("slow").agents


async def test_over_its_capacity_a_host_lets_idle_agents_of_every_organ_sleep(pg_settings: Settings):
    host = made(pg_settings.model_copy(update={"host_agents": 10}))
    for n in range(30):
        await host.execute(call("echo", f"t-{n}", f"quick-{n}"))
        if n < 10:
            await host.execute(call("remember", f"m-{n}", f"minds-{n}"))
    host.start()
    await until(lambda: host.status()["slept"] == 31)
    assert {r.organ: len(r.agents) for r in host.executors.registries} == {"quick": 7, "minds": 2}, "each has its share"


async def test_what_agents_of_two_organs_learn_and_the_hosts_own_row_are_written(
    pg_settings: Settings, database: Database
):
    host = made(pg_settings)
    host.start()
    assert (await host.execute(call("echo", "t-1"))).ok
    assert json.loads((await host.execute(call("remember", "t-2", "minds-0001"))).result or "") == {"value": "t-2"}
    assert await host.save() >= 0
    found = await rows(database, "select id, organ, host, completed from seedcore.agents order by id")
    assert found == [
        ("minds-0001", "minds", "seedcore-dispatcher-0", 1),
        ("quick-0001", "quick", "seedcore-dispatcher-0", 1),
    ]
    async with asyncio.timeout(20):
        while not (written := await rows(database, "select name, organ, status->>'agents' from seedcore.hosts")):
            await asyncio.sleep(0.05)
    assert written == [("seedcore-dispatcher-0", "", "2")]


async def test_a_blocked_worker_stops_claiming_then_returns_its_calls_and_then_ends(
    pg_settings: Settings, database: Database
):
    ends = Ends()
    host = made(pg_settings.model_copy(update={"host_blocked_s": 0.5}), ends, journal=ends)
    host.executors._more.clear()  # a journal that is passed on belongs to the executor
    host.start()
    host.submit([call("echo", "t-1")], ends.take)
    await until(lambda: ends.done)
    host.submit([call("wait", "t-2", "slow-0001"), call("block", "t-3", token=9)], ends.take)
    await until(lambda: ends.codes)
    assert ends.codes == [EXIT_REPLACED]
    (why,) = ends.told
    assert (why["task_id"], why["agent"], why["skill"]) == ("t-3", "quick-0001", "block")
    assert "GO.wait(30)" in why["stack"]
    assert ends.returned_when_told == ["t-1"], "the worker hears of it before its calls come back"
    assert [ends.done[f"t-{n}"].error_code for n in (1, 2, 3)] == [None, HANDED_BACK, "host_blocked"]
    assert "write it as a plain `def`" in (ends.done["t-3"].error_message or "")
    assert ends.kept == [[9]], "only the culprit is to be blamed"
    agents = await rows(database, "select id, running, completed, failed from seedcore.agents order by id")
    assert agents == [("quick-0001", 0, 1, 1), ("slow-0001", 0, 0, 0)]
    ((reason, task),) = await rows(database, "select ended->>'reason', ended->>'task_id' from seedcore.hosts")
    assert (reason, task) == (why["reason"], "t-3")
    again = made(pg_settings)
    again.start()
    await until(lambda: "last_end" in again.status())


async def test_a_host_whose_threads_are_lost_ends_itself_and_a_worker_that_does_not_answer_does_not_stop_it(
    pg_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    class Deaf(Ends):
        async def on_end(self, why: Mapping[str, str]) -> None:
            await super().on_end(why)
            raise RuntimeError("the claims' loop is gone")

    ends = Deaf()
    host = made(pg_settings.model_copy(update={"host_threads": 1}), ends)
    host.start()
    host.submit([call("stay", "t-1"), call("wait", "t-2")], ends.take)
    await until(lambda: ends.codes)
    assert ends.told[0]["reason"].startswith("organ slow: all 1 threads are lost")
    assert (ends.done["t-1"].error_code, ends.done["t-2"].error_code) == ("skill_timeout", HANDED_BACK)
    assert (host.closed or "").startswith("organ slow")
    assert (await host.execute(call("echo", "t-3"))).error_code == HANDED_BACK


async def test_a_drained_host_lets_calls_end_returns_the_others_and_lives_on(pg_settings: Settings):
    ends = Ends()
    host = made(pg_settings, ends)
    host.start()
    host.submit([call("wait", "t-1"), call("echo", "t-2")], ends.take)
    assert await host.drain(0.3) == 1
    assert ends.done["t-2"].ok
    assert ends.done["t-1"].error_code == HANDED_BACK
    assert host.status()["closed"] == "host seedcore-dispatcher-0 is being drained"
    assert host.running == 0
    assert ends.codes == []


async def test_what_skills_tell_of_their_progress_becomes_events_of_their_tasks(
    pg_settings: Settings, database: Database
):
    session = uuid4()
    async with database.connection() as connection:
        (submitted,) = await submit(connection, [TaskSpec("echo", "{}")])
        await sessions.open_session(connection, session, "test", "default", 60)
        (lease,) = await leases.claim(connection, "default", session, 1)
    progress = Progress([(lease.id, lease.token, '{"done": 1}'), (lease.id, lease.token + 1, '{"done": 2}')])
    host = made(pg_settings, progress=progress)
    host.executors._more.clear()  # what is passed on to executors is theirs
    host.start()
    await until(lambda: progress.written)
    statement = "select task_id, data::text from seedcore.events where event = 'progress'"
    assert await rows(database, statement) == [(submitted.id, '{"done": 1}')], "a lost lease writes nothing"
