"""What the executor notes in its journal, and what a skill that ends its process takes with it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import specs_of
from seedcore.worker.execution import task_pool
from seedcore.worker.execution.begun_journal import BegunJournal
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.last_life import read

from . import skills_of_kinds as kinds
from .test_begun_journal import leave

HERE = Path(__file__).parent


class Host:
    """An executor with a journal."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.path = path
        self.journal = BegunJournal(path, 8)
        registry = SkillRegistry(specs_of(kinds))
        self.executor = SkillExecutor(registry, load_settings(**given), AgentRegistry("utility"), journal=self.journal)
        self.reading: list[asyncio.Task[list[Completion]]] = []

    def start(self, name: str, value: Any = None, timeout_s: float | None = None, token: int = 7) -> str:
        call = Call(str(uuid4()), token, 2, name, json.dumps({"value": value}), "a-1", timeout_s, "key-1")

        async def reads() -> list[Completion]:
            return [c async for chunk in self.executor.run([call]) for c in chunk]

        self.reading.append(asyncio.create_task(reads()))
        return call.task_id

    async def ended(self) -> list[Completion]:
        async with asyncio.timeout(30):
            return [c for done in await asyncio.gather(*self.reading) for c in done]

    def running(self) -> list[str]:
        leave(self.journal)
        return sorted(call.skill for call in read(self.path))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    kinds.GO.clear()
    host = Host(tmp_path / "h.begun", host_concurrency=2, host_threads=2)
    yield host
    kinds.GO.set()
    await until(lambda: host.executor.status()["lost_threads"] == 0)
    host.executor.close()
    host.journal.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def test_what_runs_is_noted_and_what_waits_for_a_slot_is_not(host: Host):
    waiting = [host.start("async.swallow", 0.5) for _ in range(5)]
    threads = [host.start("thread.wait") for _ in range(3)]
    host.start("process.spin", timeout_s=2)
    await until(lambda: len(host.running()) == 5)
    assert host.running() == ["async.swallow"] * 2 + ["process.spin"] + ["thread.wait"] * 2
    found = {str(call.task_id) for call in read(host.path)}
    assert (len(found & set(waiting)), len(found & set(threads))) == (2, 2)
    kinds.GO.set()
    await host.ended()
    assert (host.running(), host.journal.noted) == ([], 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("async.finish", "sys.exit"),
        ("async.finish", "interrupt"),
        ("thread.finish", "sys.exit"),
        ("thread.finish", "interrupt"),
        ("process.finish", "sys.exit"),
        ("process.finish", "os._exit"),
        ("process.finish", "kill"),
        ("thread.raise", "runtime"),
        ("thread.echo", 1),
        ("async.overdraw", 1),
        ("no.such.skill", 1),
    ],
)
async def test_a_call_that_ended_in_whatever_way_is_noted_no_more(host: Host, name: str, value: Any):
    host.start(name, value)
    await host.ended()
    assert (host.running(), host.journal.noted) == ([], 0)


async def test_a_cancelled_and_a_late_call_are_noted_no_more_once_they_are_over(host: Host):
    ids = [host.start("async.leave"), host.start("async.swallow", 0.3), host.start("process.spin")]
    host.start("process.spin", timeout_s=0.2)
    await asyncio.sleep(0.1)
    host.executor.cancel(ids)
    await host.ended()
    await until(lambda: host.journal.noted == 0)
    assert host.running() == []


async def test_a_lost_thread_is_noted_until_its_function_returns(host: Host):
    """It may still end the process, although its attempt is over."""
    host.start("thread.deaf", timeout_s=0.1)
    assert (await host.ended())[0].error_code == "skill_timeout"
    assert host.running() == ["thread.deaf"]
    kinds.GO.set()
    await until(lambda: host.journal.noted == 0)


async def test_a_skill_that_ignores_its_end_is_noted_until_it_ends(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(task_pool, "GRACE_S", 0.05)
    host.start("async.swallow", 0.5, timeout_s=0.05)
    assert (await host.ended())[0].error_code == "skill_timeout"
    assert host.running() == ["async.swallow"]
    await until(lambda: host.journal.noted == 0)


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
@pytest.mark.parametrize("how", ["sys.exit", "interrupt"])
async def test_an_exit_that_is_raised_takes_its_own_call_alone(host: Host, kind: str, how: str):
    host.start("async.swallow", 0.2)
    host.start(f"{kind}.finish", how)
    good, bad = await host.ended()
    assert good.ok
    assert (bad.ok, bad.error_code, bad.retryable) == (False, "skill_failed", True)
    assert {"sys.exit": "SystemExit", "interrupt": "KeyboardInterrupt"}[how] in (bad.error_message or "")


@pytest.mark.parametrize("how", ["os._exit", "abort", "kill"])
async def test_a_process_that_ends_takes_its_own_call_alone(host: Host, how: str):
    host.start("async.swallow", 0.2)
    host.start("process.finish", how)
    good, bad = await host.ended()
    assert good.ok
    assert (bad.ok, bad.error_code) == (False, "skill_process_died")
    assert host.running() == []


ALONE = """
import asyncio, json, sys, time
from pathlib import Path
from uuid import UUID
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call
from seedcore.skills.registry import specs_of
from seedcore.worker.execution.begun_journal import BegunJournal
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.loop_bridge import LoopBridge
import skills_of_kinds as kinds

path, name, how = sys.argv[1:]
journal = BegunJournal(Path(path), 8)
registry = SkillRegistry(specs_of(kinds))
settings = load_settings(host_concurrency=1)
bridge = LoopBridge(lambda: SkillExecutor(registry, settings, AgentRegistry("utility"), journal=journal))

def call(n, name, value):
    return Call(str(UUID(int=n)), n, 1, name, json.dumps({"value": value}), "a", 30.0, "k")

async def main():
    others = [call(n, "thread.wait", None) for n in (2, 3)] + [call(4, "process.spin", None)]
    behind = [call(n, "async.swallow", 0.1) for n in (5, 6)]
    async def reads(calls):
        return [c async for chunk in bridge.run(calls) for c in chunk]
    first = asyncio.create_task(reads(others))
    while journal.noted < 3:
        await asyncio.sleep(0.01)
    done = await reads([call(1, name, how), *behind])
    print(json.dumps([c.ok for c in done]), flush=True)
    kinds.GO.set()
    bridge.executor.cancel([str(UUID(int=4))])
    await first
    bridge.executor.close()

asyncio.run(main())
"""


def end_alone(path: Path, name: str, how: str) -> "subprocess.CompletedProcess[str]":
    """A host process that runs others' calls, then one that ends it, before which two more wait for a slot."""
    command = [sys.executable, "-c", ALONE, str(path), name, how]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["async.finish", "thread.finish"])
@pytest.mark.parametrize(("how", "status"), [("os._exit", 3), ("kill", -9)])
def test_who_ends_the_host_takes_what_had_begun_and_nothing_that_had_not(
    tmp_path: Path, name: str, how: str, status: int
):
    path = tmp_path / "h.begun"
    assert end_alone(path, name, how).returncode == status
    begun = {call.task_id: call.skill for call in read(path)}
    expected = {UUID(int=1): name, UUID(int=2): "thread.wait", UUID(int=3): "thread.wait", UUID(int=4): "process.spin"}
    if name == "thread.finish":
        # The slot of async skills was free; the first of them may have begun, and have ended.
        assert begun.items() >= expected.items()
        assert len(begun) <= 5
    else:
        assert begun == expected


@pytest.mark.parametrize("how", ["sys.exit", "interrupt"])
def test_an_exit_raised_in_the_event_loop_itself_ends_neither_the_loop_nor_the_host(tmp_path: Path, how: str):
    path = tmp_path / "h.begun"
    done = end_alone(path, "async.finish-behind", how)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[true, true, true]"), done.stderr
    assert "event loop continues" in done.stdout
    assert read(path) == []
