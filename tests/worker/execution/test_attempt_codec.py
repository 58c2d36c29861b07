"""Whatever a skill raises or returns, of whatever kind it is: one failed attempt, with a code, and nothing else."""

import asyncio
import io
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import specs_of
from seedcore.telemetry.logs import configure_logs
from seedcore.worker.execution.attempt_codec import MAX_MESSAGE
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.loop_bridge import LoopBridge

from . import odd_skills
from .odd_exceptions import ODD

KINDS = ["async", "thread", "process"]


def make() -> SkillExecutor:
    return SkillExecutor(SkillRegistry(specs_of(odd_skills)), load_settings(host_processes=1), AgentRegistry("utility"))


@pytest.fixture(scope="module")
def bridge() -> Iterator[LoopBridge]:
    """As in a host: skills run in a loop of their own, in a thread."""
    # Before the executor takes its logger: structlog's default draws every variable of a traceback, for seconds.
    configure_logs(load_settings(), stream=io.StringIO())
    made = LoopBridge(make)
    yield made
    made.executor.close()


def call(name: str, value: Any = None, *, task: str = "t-1", timeout_s: float = 30.0) -> Call:
    return Call(task, 7, 2, name, json.dumps({"value": value}), "a-1", timeout_s, "key-1")


async def run(bridge: LoopBridge, calls: Sequence[Call]) -> dict[str, Completion]:
    async with asyncio.timeout(60):
        return {c.task_id: c async for chunk in bridge.run(calls) for c in chunk}


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_raised_fails_that_attempt_alone_and_at_once(bridge: LoopBridge, kind: str):
    calls = [call(f"{kind}.raise", name, task=name) for name in ODD]
    echoes = [call(f"{kind}.give", 1, task=f"echo-{n}") for n in range(5)]
    done = await run(bridge, [*calls, *echoes])
    for name, (_, begin) in ODD.items():
        ending = done[name]
        assert (ending.ok, ending.error_code, ending.retryable) == (False, "skill_failed", True), (name, ending)
        message = ending.error_message or ""
        wanted = {"stop": "StopIteration" if kind != "async" else "RuntimeError", "cancelled": "CancelledError"}
        assert wanted.get(name, begin) in message[:200], name
        assert len(message) <= MAX_MESSAGE
        message.encode()
        assert ending.seconds < 10, name
    assert all(done[c.task_id].ok for c in echoes)
    assert bridge.executor.running == 0
    assert bridge.executor.status()["lost_threads"] == bridge.executor.status()["lost_slots"] == 0


async def test_an_exit_in_a_task_of_a_skills_own_is_its_failure_and_the_loop_goes_on(bridge: LoopBridge):
    calls = [call("async.gather", name, task=name) for name in ("exit", "interrupt", "generator-exit", "no-str")]
    done = await run(bridge, [*calls, call("async.give", 1, task="echo")])
    assert [done[c.task_id].error_code for c in calls] == ["skill_failed"] * 4
    assert "SystemExit: 3" in (done["exit"].error_message or "")
    assert done["echo"].ok
    assert (await run(bridge, [call("async.give", 1)]))["t-1"].ok


async def test_a_skill_that_stops_the_loop_stops_nothing(bridge: LoopBridge):
    done = await run(bridge, [call("async.stop-loop"), call("async.give", 1, task="echo")])
    assert all(c.ok for c in done.values())


async def test_a_skill_that_cancels_itself_has_failed_and_was_not_cancelled_on_request(bridge: LoopBridge):
    ending = (await run(bridge, [call("async.cancel-itself")]))["t-1"]
    assert (ending.ok, ending.error_code, ending.retryable) == (False, "skill_failed", True)
    assert "although its task was not cancelled" in (ending.error_message or "")


async def test_the_time_that_an_exceptions_text_takes_is_the_skills(bridge: LoopBridge):
    done = await run(bridge, [call("thread.slow-text", timeout_s=0.2), call("async.give", 1, task="echo")])
    assert (done["t-1"].error_code, done["echo"].ok) == ("skill_timeout", True)
    odd_skills.GO.set()


async def test_a_forked_copy_of_a_process_gives_no_second_answer(bridge: LoopBridge):
    first = (await run(bridge, [call("process.fork", "first")]))["t-1"]
    assert json.loads(first.result or "") == {"value": "first"}
    for n in range(3):
        done = (await run(bridge, [call("process.give", n)]))["t-1"]
        assert json.loads(done.result or "") == {"value": n}


async def test_context_variables_that_cannot_be_compared_disturb_no_neighbour(bridge: LoopBridge):
    done = await run(bridge, [call("async.odd-variable", task=f"t-{n}") for n in range(20)])
    assert all(c.ok for c in done.values())


def test_a_loop_that_is_closed_closes_the_calls_in_it(monkeypatch: pytest.MonkeyPatch):
    wrong: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", wrong.append)
    loop, ended = asyncio.new_event_loop(), list[Completion]()
    executor = make()
    loop.call_soon(executor.submit, [call("async.wait", task=f"t-{n}") for n in range(3)], ended.append)
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    assert executor.running == 3
    for task in asyncio.all_tasks(loop):
        task.get_coro().close()
    loop.close()
    assert (executor.running, wrong) == (0, [])
    assert {(c.error_code, c.retryable) for c in ended} == {("skill_failed", True)}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_result_that_does_not_fit_ends_the_task_at_once(bridge: LoopBridge, kind: str):
    done = await run(bridge, [call(f"{kind}.give-odd", name, task=name) for name in odd_skills.RESULTS])
    for name, (_, reason) in odd_skills.RESULTS.items():
        ending = done[name]
        assert (ending.ok, ending.error_code, ending.retryable) == (False, "skill_failed", False), (name, ending)
        assert reason in (ending.error_message or ""), name


@pytest.mark.parametrize("kind", KINDS)
async def test_a_double_that_postgresql_wrote_as_a_long_integer_comes_back_as_it_went(bridge: LoopBridge, kind: str):
    """PostgreSQL gives the 1e21 that a client sent as a one with 21 zeros, which no result may hold."""
    done = (await run(bridge, [call(f"{kind}.give", 10**21)]))["t-1"]
    assert done.error_message is None
    assert json.loads(done.result or "") == {"value": 1e21}
