"""What skills say of how far they are: the newest of each, not too often, and before the end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import specs_of
from seedcore.worker.execution import progress_buffer
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.progress_buffer import ProgressBuffer, ProgressRow

from . import skills_of_kinds as kinds

TASK = str(UUID(int=1))


def said(rows: Sequence[ProgressRow]) -> list[tuple[int, Any]]:
    return [(token, json.loads(text)["done"]) for _, token, text in rows]


def at(done: float) -> Any:
    return {"done": done, "total": 10}


def test_the_newest_of_each_attempt_is_taken(monkeypatch: pytest.MonkeyPatch):
    buffer = ProgressBuffer()
    for n in range(5):
        buffer.report(TASK, 1, at(n))
    buffer.report(TASK, 2, at(9))
    assert buffer.take() == [(UUID(TASK), 1, '{"done":4,"total":10}'), (UUID(TASK), 2, '{"done":9,"total":10}')]
    buffer.written()
    assert buffer.take() == []
    buffer.report(TASK, 1, at(5))
    assert buffer.take() == [], "not so soon again"
    buffer.written()
    now = progress_buffer.time.monotonic() + 0.3
    monkeypatch.setattr(progress_buffer.time, "monotonic", lambda: now)
    assert said(buffer.take()) == [(1, 5)]


def test_what_could_not_be_written_is_taken_again_unless_it_is_outdated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress_buffer, "EVERY_S", 0.0)
    buffer = ProgressBuffer()
    buffer.report(TASK, 1, at(1))
    buffer.report(TASK, 2, at(1))
    buffer.take()
    buffer.report(TASK, 2, at(2))
    buffer.written(ok=False)
    assert said(buffer.take()) == [(1, 1), (2, 2)]


def test_what_cannot_be_written_for_long_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress_buffer, "MAX_KEPT", 3)
    buffer = ProgressBuffer()
    for n in range(5):
        buffer.report(TASK, n, at(n))
    buffer.report(TASK, 1, at(8))
    assert (said(buffer.take()), buffer.dropped) == ([(0, 0), (1, 8), (2, 2)], 2)


def test_secrets_in_a_note_are_masked():
    buffer = ProgressBuffer()
    buffer.report(TASK, 1, {"done": 1, "total": None, "note": "reads redis://:hunter2@h/0"})
    ((_, _, text),) = buffer.take()
    assert json.loads(text) == {"done": 1, "total": None, "note": "reads redis://:***@h/0"}


class Host:
    """An executor whose progress is written to a list; `order` has what was written and what has ended."""

    def __init__(self) -> None:
        self.buffer, self.order = ProgressBuffer(), list[Any]()
        registry = SkillRegistry(specs_of(kinds))
        self.executor = SkillExecutor(registry, load_settings(), AgentRegistry("utility"), progress=self.buffer)
        self.writing: asyncio.Task[None] | None = None

    def write(self, how: Callable[[], Awaitable[None]] | None = None) -> None:
        async def write(rows: Sequence[ProgressRow]) -> None:
            if how is not None:
                await how()
            self.order += [("progress", json.loads(text)) for _, _, text in rows]

        self.writing = asyncio.create_task(self.buffer.run(write))

    async def run(self, name: str, *values: Any) -> list[Completion]:
        calls = [Call(str(uuid4()), 7, 1, name, json.dumps({"value": v}), "a-1", None, "k") for v in values]
        done: list[Completion] = []
        async with asyncio.timeout(60):
            async for chunk in self.executor.run(calls):
                done += chunk
                self.order += [("end", c.ok) for c in chunk]
        return done


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    host.executor.close()
    if host.writing is not None:
        host.writing.cancel()
        await asyncio.gather(host.writing, return_exceptions=True)


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
async def test_the_last_progress_is_written_before_the_call_ends(host: Host, kind: str):
    host.write()
    await host.run(f"{kind}.progress", 40)
    assert host.order[-2:] == [("progress", {"done": 40, "total": 40, "note": "step 40"}), ("end", True)]
    assert len(host.order) <= 10


async def test_a_thread_may_also_report_as_it_uses_its_memory(host: Host):
    host.write()
    await host.run("thread.run-progress", 2.5)
    assert host.order == [("progress", {"done": 2.5, "total": None}), ("end", True)]


async def test_progress_of_a_process_shows_while_it_works_on(host: Host):
    host.write()
    running = asyncio.create_task(host.run("process.progress-slowly", 2.0))
    async with asyncio.timeout(20):
        while ("progress", {"done": 5, "total": 5, "note": "step 5"}) not in host.order:
            await asyncio.sleep(0.01)
    assert not running.done()
    await running


async def test_what_a_process_leaves_behind_is_not_taken_for_the_next_call(host: Host):
    host.write()
    for _ in range(3):
        (done,) = await host.run("process.progress-behind", 1)
        assert (done.ok, done.result) == (True, '{"value":1}')
    await host.run("process.progress", 3)
    assert host.order[-2:] == [("progress", {"done": 3, "total": 3, "note": "step 3"}), ("end", True)]


async def test_progress_of_many_tasks_is_written_together(host: Host):
    writes = 0

    async def count() -> None:
        nonlocal writes
        writes += 1

    host.write(count)
    await host.run("async.progress", *[3] * 100)
    assert [kind for kind, _ in host.order].count("progress") >= 100
    assert writes <= 5


async def test_a_database_that_is_away_does_not_hold_up_an_end_for_long(host: Host):
    async def hang() -> None:
        await asyncio.sleep(60)

    host.write(hang)
    async with asyncio.timeout(progress_buffer.MAX_HOLD_S + 5):
        await host.run("async.progress", 3)
    assert host.order == [("end", True)]


async def test_a_write_that_fails_is_counted_and_the_next_one_works(host: Host):
    failing = True

    async def fail() -> None:
        if failing:
            raise OSError("gone")

    host.write(fail)
    await host.run("async.progress", 3)
    assert (host.order, host.buffer.failures) == ([("end", True)], 1)
    failing = False
    host.order.clear()
    await host.run("async.progress", 3)
    assert [kind for kind, _ in host.order] == ["progress", "end"]


async def test_an_end_waits_for_nothing_where_nobody_writes(host: Host):
    async with asyncio.timeout(0.5):
        await host.run("async.progress", 3)


async def test_an_impossible_progress_is_the_skills_failure(host: Host):
    (done,) = await host.run("async.odd-progress", 1)
    assert (done.ok, done.error_code) == (False, "skill_failed")
    assert "total must be greater than 0" in (done.error_message or "")
