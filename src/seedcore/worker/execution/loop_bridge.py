"""Passes calls from the event loop that receives them to the one that runs skills, and completions back.

A skill that blocks its loop must not keep its host from answering. So one loop takes calls and gives completions, and
skills run in another one, in a thread of its own. Whole batches cross between them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence

from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.tasks.failure_codes import FailureCode
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.worker.execution.executor import SkillExecutor, failed
from seedcore.worker.execution.task_pool import Job

GATHER_MIN_CALLS, GATHER_S = 50, 0.005
"""In batches with at least so many calls left, completions wait this long for others."""


class _Stream:
    """One batch on its way. `done` is filled in the skills' loop and emptied in the other."""

    __slots__ = ("calls", "closed", "done", "ended", "jobs", "loop", "some", "wakes")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.loop = asyncio.get_running_loop()
        self.some = asyncio.Event()
        self.done: deque[Completion] = deque()
        self.ended: list[Completion] = []
        self.jobs: list[Job] = []
        self.wakes = self.closed = False

    def end(self, completion: Completion) -> None:
        """Take a completion, in the skills' loop; the reader is woken once for all of a moment."""
        self.done.append(completion)
        if not self.wakes:
            self.wakes = True
            asyncio.get_running_loop().call_soon(self._wake_reader)

    def _wake_reader(self) -> None:
        self.wakes = False
        self.loop.call_soon_threadsafe(self.some.set)

    def take(self) -> list[Completion]:
        """What has ended since the last call."""
        chunk = []
        while self.done:
            chunk.append(self.done.popleft())
        self.ended += chunk
        return chunk

    def missing(self) -> list[Call]:
        """Calls that have not ended."""
        ended = {(c.task_id, c.token) for c in [*self.ended, *self.done.copy()]}
        return [call for call in self.calls if (call.task_id, call.token) not in ended]


class LoopBridge:
    """Takes calls for an executor in another loop.

    Args:
        make: makes the executor, in that loop.
    """

    def __init__(self, make: Callable[[], SkillExecutor]) -> None:
        self.background = BackgroundLoop("skills")
        self.executor = self.background.call(_made(make), 60)
        self._streams: set[_Stream] = set()
        self._closed: str | None = None

    async def run(self, calls: Sequence[Call]) -> AsyncGenerator[list[Completion]]:
        """Run `calls` side by side; yields completions as they happen, those of one moment together.

        Once the bridge is closed, calls that have not ended are returned.
        """
        if self._closed is not None:
            yield [returned(call, self._closed) for call in calls]
            return
        stream = _Stream(calls)
        self._streams.add(stream)
        self.background.loop.call_soon_threadsafe(self._submit, stream)
        left = len(calls)
        try:
            while left and not (stream.closed and not stream.done):
                await stream.some.wait()
                if left >= GATHER_MIN_CALLS and not stream.closed:
                    # A chunk costs the reader more than most skills: wait a moment for fewer, larger ones.
                    await asyncio.sleep(GATHER_S)
                stream.some.clear()
                if chunk := stream.take():
                    left -= len(chunk)
                    yield chunk
        finally:
            self._streams.discard(stream)
            if left or stream.closed:
                # The reader has gone, or the bridge is closed: these results are not wanted any more.
                self.background.loop.call_soon_threadsafe(self._withdraw, stream)

    async def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; returns how many were running."""
        loop = self.background.loop
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._cancel(task_ids), loop))

    def close(self, reason: str, culprits: Collection[str] = (), message: str = "") -> None:
        """Take no more calls and end the streams: the calls of `culprits` (ids of tasks) fail, the others are returned.

        Must be called in the loop that reads.
        """
        self._closed = reason
        for stream in self._streams:
            last = stream.missing()
            stream.done.extend(
                failed(call, 0.0, FailureCode.HOST_BLOCKED, message, retryable=True)
                if call.task_id in culprits
                else returned(call, reason)
                for call in last
            )
            stream.closed = True
            stream.some.set()

    @property
    def open_streams(self) -> int:
        """Batches whose reader has not received everything yet."""
        return len(self._streams)

    @property
    def closed(self) -> str | None:
        """Why no calls are taken; None while they are."""
        return self._closed

    def stop_taking(self, reason: str) -> None:
        """Take no more calls; those that run go on."""
        self._closed = reason

    def _submit(self, stream: _Stream) -> None:
        stream.jobs = self.executor.submit(stream.calls, stream.end)

    def _withdraw(self, stream: _Stream) -> None:
        self.executor.withdraw(stream.jobs)

    async def _cancel(self, task_ids: Sequence[str]) -> int:
        return self.executor.cancel(task_ids)


async def _made(make: Callable[[], SkillExecutor]) -> SkillExecutor:
    return make()


def returned(call: Call, reason: str) -> Completion:
    """The completion of a call that the host returns unfinished through no fault of the task."""
    return failed(call, 0.0, HANDED_BACK, reason, retryable=True)
