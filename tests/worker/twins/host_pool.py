"""Hosts that run calls as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedcore.skills.host_protocol import Call, Completion
from seedcore.worker.ports import HostUnavailableError


@dataclass
class InMemoryHostPool:
    """`behave` gives a call's completion, raises, or waits. `known`: the hosts there are, None for any."""

    behave: Callable[[Call], Any]
    known: set[str] | None = None
    calls: list[Call] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    _running: dict[str, asyncio.Future[Completion]] = field(default_factory=dict)

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        if self.known is not None and host not in self.known:
            raise HostUnavailableError(f"there is no host {host}")
        self.calls += calls
        running = {asyncio.ensure_future(self._one(call)): call for call in calls}
        self._running |= {call.task_id: future for future, call in running.items()}
        try:
            while running:
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                yield [_completion(future, running.pop(future)) for future in ended]
        finally:
            for future, call in running.items():
                future.cancel()
                self._running.pop(call.task_id, None)

    async def _one(self, call: Call) -> Completion:
        answer = self.behave(call)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        self.cancelled += task_ids
        for task_id in task_ids:
            if (future := self._running.get(task_id)) is not None:
                future.cancel()


def _completion(future: asyncio.Future[Completion], call: Call) -> Completion:
    return failed(call, "cancelled", "cancelled on request", retryable=False) if future.cancelled() else future.result()


def good(call: Call) -> Completion:
    return Completion(call.task_id, call.token, call.agent, call.skill, True, 0.01, result=call.params)


def failed(call: Call, code: str, message: str, *, retryable: bool = True) -> Completion:
    done = Completion(call.task_id, call.token, call.agent, call.skill, False, 0.01)
    return done._replace(error_code=code, error_message=message, retryable=retryable)


def bad(call: Call, *, retryable: bool = True) -> Completion:
    return failed(call, "boom", "it broke", retryable=retryable)
