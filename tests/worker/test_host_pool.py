"""What a dispatcher relies on of its hosts; the twin in memory and the real adapter behave alike.

The real one calls a stand-in for an actor's handle, behind which stand the host's own bridge and executor.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel
from ray.exceptions import ActorDiedError, ActorUnavailableError

from seedcore.errors import SkillError
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillContext, SkillRegistry, skill
from seedcore.skills.host_protocol import Call, Columns, Completion, calls_of, to_columns
from seedcore.skills.skill_decorator import MARK
from seedcore.worker.actors import ray_adapters
from seedcore.worker.actors.ray_adapters import RayHosts
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.loop_bridge import LoopBridge
from seedcore.worker.ports import HostLostError, HostPool, HostUnavailableError
from tests.worker.twins.host_pool import InMemoryHostPool, failed, good

HOST = "h-1"


class Value(BaseModel):
    value: Any = None


@skill("echo")
async def echo(params: Value, context: SkillContext) -> Value:
    return params


@skill("wait")
async def wait(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(20)
    return params


@skill("fail")
async def fail(params: Value, context: SkillContext) -> Value:
    raise SkillError("it broke")


class Method:
    """A method of an actor, called in this process."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.remote = function

    def options(self, *, num_returns: str) -> "Method":
        return self


class StandInHost:
    """An agent host's handle without Ray; `lost` is what every call raises once the host has ended."""

    def __init__(self) -> None:
        settings = load_settings()
        registry = SkillRegistry([getattr(f, MARK) for f in (echo, wait, fail)])
        self.bridge = LoopBridge(lambda: SkillExecutor(registry, settings, AgentRegistry("utility", ["a-1"])))
        self.lost: Exception | None = None
        self.run, self.execute = Method(self._run), Method(self._execute)
        self.cancel, self.status = Method(self._cancel), Method(self._status)

    async def _run(self, columns: Columns) -> AsyncIterator[Awaitable[Columns]]:
        async for chunk in self.bridge.run(calls_of(columns)):
            yield asyncio.ensure_future(self._answer(to_columns(chunk)))
        if self.lost is not None:
            raise self.lost

    async def _execute(self, call: Call) -> Completion:
        (done,) = [done async for chunk in self.bridge.run([call]) for done in chunk]
        return await self._answer(done)

    async def _cancel(self, task_ids: list[str]) -> int:
        return await self.bridge.cancel(task_ids)

    async def _status(self) -> dict[str, object]:
        return await self._answer({"closed": self.bridge.closed} if self.bridge.closed else {})

    async def _answer(self, answer: Any) -> Any:
        if self.lost is not None:
            raise self.lost
        return answer


class Pool:
    """A host pool, and how its host ends while calls run."""

    def __init__(self, hosts: HostPool, end: Callable[[], None], restart: Callable[[], None]) -> None:
        self.hosts, self.end, self.restart = hosts, end, restart

    async def run(self, *calls: Call, host: str = HOST) -> dict[str, Completion]:
        return {done.task_id: done async for chunk in self.hosts.run(host, calls) for done in chunk}


@pytest.fixture(params=["memory", "ray adapter"])
async def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    if request.param == "memory":
        twin = twin_pool()
        yield twin
        return
    host = StandInHost()

    def get_actor(name: str, namespace: str) -> StandInHost:
        if name != HOST:
            raise ValueError(name)
        return host

    monkeypatch.setattr(ray_adapters.ray, "get_actor", get_actor)

    def end() -> None:
        host.lost = ActorDiedError()
        host.bridge.close("the host ends")

    def restart() -> None:
        host.lost, host.bridge = None, StandInHost().bridge

    yield Pool(RayHosts(load_settings()), end, restart)
    host.bridge.background.loop.call_soon_threadsafe(host.bridge.executor.close)


def twin_pool() -> Pool:
    ended: asyncio.Event = asyncio.Event()

    async def behave(call: Call) -> Completion:
        if call.skill == "fail":
            return failed(call, "skill_error", "it broke", retryable=False)
        if call.skill == "wait":
            await asyncio.wait_for(ended.wait(), 20)
        if ended.is_set():
            raise HostLostError("it ended")
        return good(call)

    return Pool(InMemoryHostPool(behave, known={HOST}), ended.set, ended.clear)


def call(task_id: str, name: str = "echo") -> Call:
    return Call(task_id, 7, 1, name, json.dumps({"value": task_id}), "a-1", None, task_id)


async def test_every_call_completes_with_its_own_result_and_token(pool: Pool):
    done = await pool.run(*[call(f"t-{n}") for n in range(20)])
    assert {name: json.loads(c.result or "")["value"] for name, c in done.items()} == {n: n for n in done}
    assert len(done) == 20
    assert {(c.ok, c.token, c.agent, c.skill) for c in done.values()} == {(True, 7, "a-1", "echo")}


async def test_a_single_call_completes_alike(pool: Pool):
    assert json.loads((await pool.run(call("t-1")))["t-1"].result or "") == {"value": "t-1"}


async def test_a_skill_that_fails_is_a_completion_and_its_neighbours_go_on(pool: Pool):
    done = await pool.run(call("bad", "fail"), call("good"))
    assert (done["bad"].ok, done["bad"].error_message, done["good"].ok) == (False, "it broke", True)


async def test_completions_come_as_they_happen_and_a_cancelled_call_ends(pool: Pool):
    stream = pool.hosts.run(HOST, [call("slow", "wait"), call("quick")])
    async with asyncio.timeout(10):
        first = await anext(stream)
        assert [c.task_id for c in first] == ["quick"]
        await pool.hosts.cancel(HOST, ["slow"])
        (rest,) = [c async for chunk in stream for c in chunk]
    assert (rest.task_id, rest.ok, rest.error_code, rest.retryable) == ("slow", False, "cancelled", False)


async def test_cancelling_what_does_not_run_changes_nothing(pool: Pool):
    await pool.hosts.cancel(HOST, ["unknown"])
    assert (await pool.run(call("t-1")))["t-1"].ok


async def test_an_unknown_host_is_unavailable_and_nothing_has_begun(pool: Pool):
    with pytest.raises(HostUnavailableError):
        await pool.run(call("t-1"), call("t-2"), host="no-such-host")


@pytest.mark.parametrize("count", [1, 2])
async def test_a_host_that_ends_while_calls_run_is_lost_and_runs_others_when_it_is_back(pool: Pool, count: int):
    running = asyncio.ensure_future(pool.run(*[call(f"t-{n}", "wait") for n in range(count)]))
    await asyncio.sleep(0.2)
    pool.end()
    async with asyncio.timeout(10):
        with pytest.raises(HostLostError):
            await running
    pool.restart()
    assert (await pool.run(call("t-9")))["t-9"].ok


async def test_a_lost_host_gets_no_calls_before_it_answers(monkeypatch: pytest.MonkeyPatch):
    host, begun = StandInHost(), []

    async def execute(call: Call) -> None:
        begun.append(call)

    monkeypatch.setattr(ray_adapters.ray, "get_actor", lambda _name, namespace: host)
    hosts = RayHosts(load_settings())
    host.lost = ActorDiedError()
    with pytest.raises(HostLostError):
        await Pool(hosts, lambda: None, lambda: None).run(call("t-1"))
    host.lost = ActorUnavailableError("restarting", b"a" * 16)
    monkeypatch.setattr(host, "execute", Method(execute))
    with pytest.raises(HostUnavailableError):
        await Pool(hosts, lambda: None, lambda: None).run(call("t-2"))
    assert begun == []
