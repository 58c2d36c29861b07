"""Skills in threads and processes, and those that do not end when they are told to."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import psutil
import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import specs_of
from seedcore.worker.execution import task_pool
from seedcore.worker.execution.executor import SkillExecutor

from . import skills_of_kinds as kinds

Make = Callable[..., SkillExecutor]


@pytest.fixture(autouse=True)
def _free() -> None:
    kinds.GO.clear()
    kinds.ENDED.clear()


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[SkillExecutor] = []

    def one(**given: Any) -> SkillExecutor:
        book = AgentRegistry("utility")
        made.append(SkillExecutor(SkillRegistry(specs_of(kinds)), load_settings(**given), book))
        return made[-1]

    yield one
    kinds.GO.set()
    for executor in made:
        await until(lambda: executor.status()["lost_threads"] == 0)  # noqa: B023
        executor.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def call(
    name: str, value: Any = None, *, task: str = "t-1", agent: str = "a-1", timeout_s: float | None = None
) -> Call:
    return Call(task, 7, 2, name, json.dumps({"value": value}), agent, timeout_s, "key-1")


async def run(executor: SkillExecutor, calls: Sequence[Call]) -> dict[str, Completion]:
    async with asyncio.timeout(60):
        return {c.task_id: c async for chunk in executor.run(calls) for c in chunk}


async def one(executor: SkillExecutor, *args: Any, **given: Any) -> Completion:
    (completion,) = (await run(executor, [call(*args, **given)])).values()
    return completion


def value(completion: Completion) -> Any:
    assert completion.ok, completion
    return json.loads(completion.result or "")["value"]


async def test_a_plain_function_runs_in_a_thread_and_may_use_the_loop(make: Make):
    executor = make()
    given, thread = value(await one(executor, "thread.echo", {"a": 1}))
    assert given == {"a": 1}
    assert thread.startswith("skill")
    assert value(await one(executor, "thread.loop")) == "MainThread"


async def test_a_blocking_skill_does_not_hold_up_its_neighbours(make: Make):
    executor = make()
    calls = [call("thread.wait", task="slow"), *[call("thread.echo", task=f"t-{n}") for n in range(20)]]
    order: list[str] = []
    async with asyncio.timeout(20):
        async for chunk in executor.run(calls):
            order += [c.task_id for c in chunk]
            if len(order) == 20:
                kinds.GO.set()
    assert order[-1] == "slow"


async def test_no_more_threads_run_than_there_are_and_waiting_takes_no_time_of_a_skills(make: Make):
    executor = make(host_threads=2)
    calls = [call("thread.wait", task=f"t-{n}", timeout_s=0.3) for n in range(3)]
    reading = asyncio.create_task(run(executor, calls))
    done = await reading
    assert {c.error_code for c in done.values()} == {"skill_timeout"}
    assert all(c.seconds >= 0.25 for c in done.values())
    assert set(kinds.ENDED.values()) <= {"cancelled"}


async def test_a_cancelled_thread_sees_its_flag(make: Make):
    executor = make()
    reading = asyncio.create_task(run(executor, [call("thread.wait")]))
    await until(lambda: executor.running == 1)
    await asyncio.sleep(0.05)
    assert executor.cancel(["t-1"]) == 1
    assert (await reading)["t-1"].error_code == "cancelled"
    await until(lambda: kinds.ENDED.get("t-1") == "cancelled")


async def test_a_thread_that_does_not_end_is_a_lost_slot_until_it_does(make: Make):
    executor = make(host_threads=2)
    done = await one(executor, "thread.deaf", timeout_s=0.1)
    assert (done.ok, done.error_code, done.retryable) == (False, "skill_timeout", True)
    assert executor.status()["lost_threads"] == 1
    assert executor.exhausted is None
    assert value(await one(executor, "thread.echo", 1))[0] == 1, "the other slot works on"
    assert not (await one(executor, "thread.deaf", timeout_s=0.1)).ok
    assert "all 2 threads" in (executor.exhausted or "")
    kinds.GO.set()
    await until(lambda: executor.status()["lost_threads"] == 0)
    assert executor.exhausted is None
    assert value(await one(executor, "thread.echo", 2))[0] == 2


@pytest.mark.parametrize("raised", ["runtime", "exit", "interrupt", "cancelled"])
async def test_whatever_a_thread_raises_is_a_failure_of_its_call_alone(make: Make, raised: str):
    executor = make()
    done = await run(executor, [call("thread.raise", raised), call("thread.echo", task="t-2")])
    assert (done["t-1"].ok, done["t-1"].error_code, done["t-1"].retryable) == (False, "skill_failed", True)
    assert done["t-2"].ok
    assert executor.status()["lost_threads"] == 0


async def test_a_process_is_made_once_and_told_of_its_task(make: Make):
    executor = make()
    first = value(await one(executor, "process.echo", {"a": "ü"}, agent="a-9"))
    second = value(await one(executor, "process.echo", 2, task="t-2"))
    assert first[0] == {"a": "ü"}
    assert first[1] == second[1] != os.getpid()
    assert first[2:] == ["t-1", "a-9", 2]
    assert executor.status()["processes"] == 1


@pytest.mark.parametrize(("how", "told"), [("exit", "exit status 3"), ("signal", "signal 11")])
async def test_a_process_that_dies_fails_its_own_call_alone_and_is_made_anew(make: Make, how: str, told: str):
    executor = make()
    done = await run(executor, [call("process.end", how), call("process.echo", task="t-2")])
    assert (done["t-1"].ok, done["t-1"].error_code, done["t-1"].retryable) == (False, "skill_process_died", True)
    assert told in (done["t-1"].error_message or "")
    assert done["t-2"].ok
    assert value(await one(executor, "process.echo", 1))[0] == 1


@pytest.mark.parametrize(
    ("how", "code", "retryable", "told"),
    [
        ("raise", "skill_failed", True, "ValueError: redis://:***@h is broken"),
        ("sys.exit", "skill_failed", True, "SystemExit: 4"),
        ("final", "skill_failed", False, "never"),
        ("liar", "skill_failed", False, "the skill returned Other, declared is Value"),
    ],
)
async def test_what_a_skill_in_a_process_raises_is_told_as_elsewhere(
    make: Make, how: str, code: str, retryable: bool, told: str
):
    executor = make()
    done = await one(executor, "process.end", how)
    assert (done.ok, done.error_code, done.retryable, done.error_message) == (False, code, retryable, told)
    assert executor.status()["processes"] == 1, "the process lives on"


async def test_a_process_is_killed_at_its_time_limit_and_its_start_takes_none_of_it(make: Make):
    executor = make()
    done = await one(executor, "process.spin", timeout_s=0.3)
    assert (done.error_code, done.error_message) == ("skill_timeout", "the skill took longer than 0.3 s")
    assert 0.25 < done.seconds < 5
    assert executor.status()["processes"] == 0
    assert not [
        child for child in psutil.Process().children() if "seedcore.worker.execution.process_worker" in child.cmdline()
    ]


async def test_a_cancelled_process_is_killed(make: Make):
    executor = make()
    await one(executor, "process.echo")
    reading = asyncio.create_task(run(executor, [call("process.spin")]))
    await until(lambda: executor.running == 1)
    await asyncio.sleep(0.05)
    executor.cancel(["t-1"])
    assert (await reading)["t-1"].error_code == "cancelled"
    assert executor.status()["processes"] == 0


async def test_an_idle_process_that_was_killed_is_replaced_before_a_call_is_sent(make: Make):
    executor = make()
    pid = value(await one(executor, "process.echo"))[1]
    os.kill(pid, 9)
    await until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert value(await one(executor, "process.echo", 1))[1] != pid


async def test_an_async_skill_that_ignores_its_end_is_given_up_and_its_slot_is_lost(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(task_pool, "GRACE_S", 0.1)
    executor = make(host_concurrency=2)
    began = time.monotonic()
    done = await one(executor, "async.swallow", 2.0, timeout_s=0.05)
    assert (done.ok, done.error_code, done.retryable) == (False, "skill_timeout", True)
    assert time.monotonic() - began < 1.9
    assert executor.status()["lost_slots"] == 1
    assert executor.running == 0
    await until(lambda: executor.status()["lost_slots"] == 0)


async def test_a_cancelled_skill_that_goes_on_is_told_as_cancelled(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(task_pool, "GRACE_S", 0.1)
    executor = make()
    reading = asyncio.create_task(run(executor, [call("async.swallow", 1.0)]))
    await asyncio.sleep(0.05)
    executor.cancel(["t-1"])
    assert (await reading)["t-1"].error_code == "cancelled"
    await until(lambda: executor.status()["lost_slots"] == 0)


async def test_what_a_skill_leaves_behind_disturbs_nobody(make: Make):
    executor = make()
    done = await run(executor, [call("async.leave", task=f"t-{n}") for n in range(50)])
    assert all(c.ok for c in done.values())
    assert executor.running == 0
    for task in asyncio.all_tasks():
        if task.get_name() in kinds.ENDED.values():
            task.cancel()


async def test_an_agent_runs_no_more_at_once_than_its_limit_and_all_in_the_end(make: Make):
    executor = make(agent_concurrency=2)
    calls = [call("thread.wait", task=f"{agent}-{n}", agent=agent) for agent in ("a", "b") for n in range(5)]
    reading = asyncio.create_task(run(executor, calls))
    await asyncio.sleep(0.2)
    begun = [job.agent for job in executor.jobs() if job.began]
    assert sorted(begun) == ["a", "a", "b", "b"]
    executor.cancel(["a-3"])
    kinds.GO.set()
    done = await reading
    assert len(done) == 10
    assert [task for task, c in done.items() if not c.ok] == ["a-3"]


async def test_one_agents_backlog_holds_up_no_other_agent(make: Make):
    executor = make(host_concurrency=1)
    greedy = [call("async.swallow", 0.005, task=f"g-{n}", agent="greedy") for n in range(40)]
    order: list[str] = []
    async with asyncio.timeout(20):
        async for chunk in executor.run([*greedy, call("async.swallow", 0, task="modest", agent="modest")]):
            order += [c.task_id for c in chunk]
    assert order.index("modest") <= 2


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
async def test_what_a_skill_spends_goes_with_its_end_whatever_end(make: Make, kind: str):
    done = (await run(make(), [call(f"{kind}.spend", 1)]))["t-1"]
    assert (done.ok, done.usage) == (kind != "thread", (15.0, 0.5))


async def test_a_skill_that_reports_nothing_spent_nothing(make: Make):
    assert (await run(make(), [call("thread.loop")]))["t-1"].usage is None


async def test_nobody_spends_less_than_nothing(make: Make):
    done = (await run(make(), [call("async.overdraw", 1)]))["t-1"]
    assert (done.ok, done.usage) == (False, None)
    assert "tokens" in str(done.error_message)
