"""A host in the dispatcher's own process that runs calls as a test says."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from seedcore.skills.host_protocol import Call, Completion
from tests.worker.twins.host_pool import failed


class InMemoryLocalHost:
    """`behave` gives a call's completion, raises, or waits; see `ports.LocalHost`."""

    def __init__(self, behave: Callable[[Call], Any], name: str = "w-0") -> None:
        self.name, self.behave = name, behave
        self.calls: list[Call] = []
        self.cancelled: list[str] = []
        self._running: dict[str, asyncio.Task[None]] = {}

    def submit(self, calls: Sequence[Call], done: Callable[[list[Completion]], None]) -> None:
        self.calls += calls
        for call in calls:
            self._running[call.task_id] = asyncio.ensure_future(self._run(call, done))

    def cancel_soon(self, task_ids: Sequence[str]) -> None:
        self.cancelled += task_ids
        for task_id in task_ids:
            if (running := self._running.get(task_id)) is not None:
                running.cancel()

    async def _run(self, call: Call, done: Callable[[list[Completion]], None]) -> None:
        try:
            answer = self.behave(call)
            completion = await answer if asyncio.iscoroutine(answer) else answer
        except asyncio.CancelledError:
            completion = failed(call, "cancelled", "cancelled on request", retryable=False)
        done([completion])
