"""Calls cross to the skills' loop and back; a skill that blocks that loop keeps nobody from being answered."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillContext, SkillRegistry, skill
from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.skills.skill_decorator import MARK
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.loop_bridge import LoopBridge
from seedcore.worker.execution.watchdog import BlockedLoop, Watchdog


class Value(BaseModel):
    value: Any = None


GO = threading.Event()
BLOCKING = threading.Event()


@skill("echo")
async def echo(params: Value, context: SkillContext) -> Value:
    return params


@skill("wait", timeout_s=60)
async def wait(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(60)
    return params


@skill("block", timeout_s=60)
async def block(params: Value, context: SkillContext) -> Value:
    """Keeps the loop until GO."""
    BLOCKING.set()
    GO.wait(30)
    return params


@skill("block-behind")
async def block_behind(params: Value, context: SkillContext) -> Value:
    """Ends at once, and leaves something behind that keeps the loop."""

    async def later() -> None:
        BLOCKING.set()
        GO.wait(30)

    await asyncio.sleep(0)
    params.value = asyncio.create_task(later()).get_name()
    return params


@skill("exit-behind")
async def exit_behind(params: Value, context: SkillContext) -> Value:
    """Leaves something behind that would end the loop itself."""

    async def later() -> None:
        raise SystemExit(3)

    params.value = asyncio.create_task(later()).get_name()
    return params


@pytest.fixture
def book() -> AgentRegistry:
    return AgentRegistry("utility")


@pytest.fixture
async def bridge(book: AgentRegistry) -> AsyncIterator[LoopBridge]:
    GO.clear()
    BLOCKING.clear()
    registry = SkillRegistry([getattr(f, MARK) for f in (echo, wait, block, block_behind, exit_behind)])
    made = LoopBridge(lambda: SkillExecutor(registry, load_settings(), book))
    yield made
    GO.set()


def call(name: str, task: str = "t-1") -> Call:
    return Call(task, 7, 1, name, json.dumps({"value": task}), "a-1", None, "key-1")


async def run(bridge: LoopBridge, *calls: Call) -> dict[str, Completion]:
    async with asyncio.timeout(30):
        return {c.task_id: c async for chunk in bridge.run(calls) for c in chunk}


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def test_calls_run_in_another_thread_and_their_results_come_back(bridge: LoopBridge):
    done = await run(bridge, *[call("echo", f"t-{n}") for n in range(500)])
    assert {json.loads(c.result or "")["value"] for c in done.values()} == {f"t-{n}" for n in range(500)}
    assert bridge.open_streams == 0
    assert await run(bridge) == {}


async def test_many_batches_at_once_get_their_own_results(bridge: LoopBridge):
    batches = await asyncio.gather(*[run(bridge, *[call("echo", f"{b}-{n}") for n in range(50)]) for b in range(20)])
    for b, done in enumerate(batches):
        assert set(done) == {f"{b}-{n}" for n in range(50)}


async def test_cancel_reaches_the_skill_in_its_loop(bridge: LoopBridge):
    reading = asyncio.create_task(run(bridge, call("wait")))
    await until(lambda: bridge.executor.running)
    assert await bridge.cancel(["t-1", "unknown"]) == 1
    assert (await reading)["t-1"].error_code == "cancelled"


async def test_when_the_reader_has_gone_its_calls_are_cancelled(bridge: LoopBridge):
    chunks = bridge.run([call("echo"), call("wait", "t-2")])
    assert [c.task_id for c in await anext(chunks)] == ["t-1"]
    await chunks.aclose()
    await until(lambda: bridge.executor.running == 0)
    assert bridge.open_streams == 0


async def test_a_closed_bridge_returns_what_runs_and_what_comes(bridge: LoopBridge):
    reading = asyncio.create_task(run(bridge, call("echo"), call("wait", "t-2"), call("wait", "t-3")))
    await until(lambda: bridge.executor.running == 2)
    bridge.close("going", ["t-3"], "it was you")
    done = await reading
    assert done["t-1"].ok, "what had ended is told as it was"
    assert (done["t-2"].error_code, done["t-2"].error_message) == (HANDED_BACK, "going")
    assert (done["t-3"].error_code, done["t-3"].error_message) == ("host_blocked", "it was you")
    await until(lambda: bridge.executor.running == 0)
    assert (await run(bridge, call("echo")))["t-1"].error_code == HANDED_BACK


async def test_a_bridge_that_takes_no_more_lets_the_others_end(bridge: LoopBridge):
    reading = asyncio.create_task(run(bridge, call("wait")))
    await until(lambda: bridge.executor.running)
    bridge.stop_taking("draining")
    assert (await run(bridge, call("echo", "t-2")))["t-2"].error_code == HANDED_BACK
    assert not reading.done()
    await bridge.cancel(["t-1"])
    await reading


async def test_a_blocked_loop_is_noticed_with_who_and_where_and_its_neighbours_are_answered(bridge: LoopBridge):
    noticed: list[BlockedLoop] = []

    async def tell(seen: BlockedLoop) -> None:
        noticed.append(seen)

    skills = bridge.background
    watchdog = Watchdog(skills.loop, skills.thread, 0.5, bridge.executor.jobs, tell)
    background = BackgroundLoop("test")
    background.start(watchdog.watch())
    reading = asyncio.create_task(run(bridge, call("echo"), call("wait", "t-2"), call("block", "t-3")))
    await until(BLOCKING.is_set)
    await until(lambda: noticed)
    (seen,) = noticed
    assert seen.seconds >= 0.5
    assert seen.job is not None
    assert seen.job.call.task_id == "t-3"
    assert "GO.wait(30)" in seen.stack
    bridge.close("blocked", [seen.job.call.task_id], "it was you")
    done = await reading
    assert [done[f"t-{n}"].error_code for n in (1, 2, 3)] == [None, HANDED_BACK, "host_blocked"]


async def test_an_exit_that_a_skill_has_left_behind_ends_no_loop(bridge: LoopBridge):
    reading = asyncio.create_task(run(bridge, call("exit-behind"), *[call("echo", f"t-{n}") for n in range(2, 20)]))
    assert all(c.ok for c in (await reading).values())
    assert (await run(bridge, call("echo")))["t-1"].ok


async def test_what_a_skill_has_left_behind_is_noticed_without_a_culprit(bridge: LoopBridge):
    noticed: list[BlockedLoop] = []

    async def tell(seen: BlockedLoop) -> None:
        noticed.append(seen)

    skills = bridge.background
    background = BackgroundLoop("test")
    background.start(Watchdog(skills.loop, skills.thread, 0.5, bridge.executor.jobs, tell).watch())
    reading = asyncio.create_task(run(bridge, call("block-behind")))
    await until(lambda: noticed)
    assert noticed[0].job is None
    bridge.close("blocked")
    await reading


async def test_a_loop_that_turns_is_not_called_blocked_and_a_stopped_clock_does_not_count(
    bridge: LoopBridge, monkeypatch: pytest.MonkeyPatch
):
    noticed: list[BlockedLoop] = []

    async def tell(seen: BlockedLoop) -> None:
        noticed.append(seen)

    skills = bridge.background
    watchdog = Watchdog(skills.loop, skills.thread, 0.5, bridge.executor.jobs, tell)
    watching = asyncio.create_task(watchdog.watch())
    await asyncio.sleep(0.2)
    # As if the process had been stopped: this loop and the skills' stand still for longer than the limit.
    bridge.background.loop.call_soon_threadsafe(time.sleep, 0.8)
    time.sleep(0.8)
    await asyncio.sleep(0.6)
    assert noticed == []
    watching.cancel()


class Taken:
    """Takes completions, as a dispatcher does."""

    def __init__(self) -> None:
        self.chunks: list[list[Completion]] = []
        self.threads: set[int] = set()

    def __call__(self, chunk: list[Completion]) -> None:
        self.chunks.append(chunk)
        self.threads.add(threading.get_ident())

    @property
    def done(self) -> dict[str, Completion]:
        return {c.task_id: c for chunk in self.chunks for c in chunk}


async def test_calls_given_without_a_stream_end_in_the_loop_that_gave_them_each_once(bridge: LoopBridge):
    taken = [Taken() for _ in range(20)]
    for b, take in enumerate(taken):
        bridge.submit([call("echo", f"{b}-{n}") for n in range(40)], take)
    bridge.submit([], taken[0])
    await until(lambda: not bridge.open_streams)
    for b, take in enumerate(taken):
        assert sorted(c.task_id for chunk in take.chunks for c in chunk) == sorted(f"{b}-{n}" for n in range(40))
        assert take.threads == {threading.get_ident()}


async def test_what_ends_in_one_moment_comes_at_once_and_a_batch_that_has_ended_waits_for_nothing(bridge: LoopBridge):
    take, slow = Taken(), Taken()
    bridge.submit([call("echo", f"t-{n}") for n in range(40)], take)
    await until(lambda: len(take.done) == 40)
    assert len(take.chunks) <= 2
    # With one call that goes on, the others are gathered.
    bridge.submit([*[call("echo", f"t-{n}") for n in range(400)], *[call("wait", f"w-{n}") for n in range(60)]], slow)
    await until(lambda: len(slow.done) == 400)
    assert len(slow.chunks) <= 20
    bridge.cancel_soon([f"w-{n}" for n in range(60)])
    await until(lambda: not bridge.open_streams)
    assert slow.done["w-7"].error_code == "cancelled"


async def test_a_closed_bridge_returns_calls_that_were_given_without_a_stream(bridge: LoopBridge):
    take, late = Taken(), Taken()
    bridge.submit([call("echo"), call("wait", "t-2"), call("wait", "t-3")], take)
    await until(lambda: "t-1" in take.done and bridge.executor.running == 2)
    bridge.close("going", ["t-3"], "it was you")
    bridge.submit([call("echo", "t-4")], late)
    assert not late.chunks, "the caller goes on before it hears of it"
    await until(lambda: not bridge.open_streams and bridge.executor.running == 0)
    assert [take.done[f"t-{n}"].error_code for n in (1, 2, 3)] == [None, HANDED_BACK, "host_blocked"]
    assert sum(map(len, take.chunks)) == 3, "each once, although the cancelled skills have ended since"
    assert late.done["t-4"].error_code == HANDED_BACK


async def test_closing_from_another_thread_reaches_the_calls_of_every_loop(bridge: LoopBridge):
    other, mine, theirs = BackgroundLoop("other"), Taken(), Taken()
    bridge.submit([call("wait")], mine)
    other.loop.call_soon_threadsafe(bridge.submit, [call("wait", "t-2")], theirs)
    streaming = other.start(run(bridge, call("wait", "t-3")))
    await until(lambda: bridge.executor.running == 3)
    await asyncio.to_thread(bridge.close, "going")
    done = await asyncio.wrap_future(streaming)
    await until(lambda: not bridge.open_streams)
    assert {c.error_code for c in [mine.done["t-1"], theirs.done["t-2"], done["t-3"]]} == {HANDED_BACK}
    assert theirs.threads == {other.thread.ident}


async def test_a_taker_that_fails_costs_the_others_nothing(bridge: LoopBridge):
    def broken(chunk: list[Completion]) -> None:
        raise RuntimeError("cannot take it")

    take = Taken()
    bridge.submit([call("echo")], broken)
    bridge.submit([call("echo", "t-2")], take)
    await until(lambda: take.done and not bridge.open_streams)
    assert take.done["t-2"].ok


async def test_one_call_is_awaited_and_cancelled_with_its_caller(bridge: LoopBridge):
    assert (await bridge.execute(call("echo"))).ok
    waiting = asyncio.create_task(bridge.execute(call("wait", "t-2")))
    await until(lambda: bridge.executor.running)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: bridge.executor.running == 0)
    assert bridge.open_streams == 0
