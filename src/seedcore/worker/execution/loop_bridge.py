"""Passes calls from the event loops that receive them to the one that runs skills, and completions back.

A skill that blocks its loop must not keep its host from answering. So other loops take calls and give completions, and
skills run in one of their own, in a thread of its own. Whole batches cross between them, and a loop is woken once for
all that happens in a moment: waking another thread costs more than running a small skill.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.tasks.failure_codes import FailureCode
from seedcore.telemetry.logs import get_logger
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.worker.execution.executor import failed
from seedcore.worker.execution.task_pool import Job

GATHER_MIN_CALLS, GATHER_S = 50, 0.005
"""In batches with at least so many calls left, completions wait this long for others, or until all have ended."""

TakeCompletions = Callable[[list[Completion]], None]


class CallExecutor(Protocol):
    """What runs the calls: a `SkillExecutor`, or several as one."""

    def submit(self, calls: Sequence[Call], done: Callable[[Completion], None]) -> list[Job]:
        """Run `calls` side by side; each ends with one call of `done`. Raises nothing."""

    def withdraw(self, jobs: Sequence[Job]) -> None:
        """Cancel those of `jobs` that have not ended."""

    def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; returns how many were running."""


Executor = TypeVar("Executor", bound=CallExecutor)


class _Reader:
    """A loop that takes completions. `batches` have some; filled in the skills' loop and emptied in the reader's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.batches: deque[_Batch] = deque()
        self.woken = False

    def wake(self, batch: "_Batch") -> None:
        """Let the reader look at `batch`, together with all others of this moment."""
        self.batches.append(batch)
        if not self.woken:
            self.woken = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self.loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        # First this, then the batches: what is added from now on wakes the reader again.
        self.woken = False
        while self.batches:
            self.batches.popleft().look()


class _Batch:
    """Calls on their way. `done` is filled in the skills' loop and emptied in the reader's.

    Attributes:
        left: calls whose completions the reader has not taken yet.
        running: calls that have not ended in the skills' loop.
        waking: the reader will look at `done` without being woken again.
        over: the reader has everything, or wants no more.
    """

    __slots__ = ("_finish", "_take", "calls", "done", "jobs", "left", "over", "reader", "running", "taken", "waking")

    def __init__(
        self, calls: Sequence[Call], reader: _Reader, take: TakeCompletions, finish: "Callable[[_Batch], None]"
    ) -> None:
        self.calls, self.reader = calls, reader
        self._take, self._finish = take, finish
        self.done: deque[Completion] = deque()
        self.taken: list[Completion] = []
        self.jobs: list[Job] = []
        self.left = self.running = len(calls)
        self.waking = self.over = False

    def end(self, completion: Completion) -> None:
        """Take a completion, in the skills' loop."""
        self.done.append(completion)
        self.running -= 1
        if not self.waking or not self.running:
            self.waking = True
            self.reader.wake(self)

    def look(self) -> None:
        """Give the reader what has ended. A chunk costs it more than most skills: rather fewer, larger ones."""
        if self.left < GATHER_MIN_CALLS or len(self.done) >= self.left:
            self._give()
        else:
            self.reader.loop.call_later(GATHER_S, self._give)

    def close(self, reason: str, culprits: Collection[str], message: str) -> None:
        """End now: calls of `culprits` that have not ended fail, the others are returned."""
        if self.over:
            return
        last = self._emptied()
        ended = {(c.task_id, c.token) for c in [*self.taken, *last]}
        last += [
            failed(call, 0.0, FailureCode.HOST_BLOCKED, message, retryable=True)
            if call.task_id in culprits
            else returned(call, reason)
            for call in self.calls
            if (call.task_id, call.token) not in ended
        ]
        self._pass_on(last)

    def _give(self) -> None:
        # In this order: what ends from here on wakes the reader again.
        self.waking = False
        if not self.over and (chunk := self._emptied()):
            self._pass_on(chunk)

    def _emptied(self) -> list[Completion]:
        chunk = []
        while self.done:
            chunk.append(self.done.popleft())
        return chunk

    def _pass_on(self, chunk: list[Completion]) -> None:
        self.left -= len(chunk)
        self.over = self.left <= 0
        if not self.over:
            self.taken += chunk
        try:
            self._take(chunk)
        except Exception as error:  # noqa: BLE001 - the mistake of one reader must not cost the others theirs
            get_logger("seedcore.worker.host").error("completions were not taken", exc_info=error)
        if self.over:
            self._finish(self)


class LoopBridge(Generic[Executor]):
    """Takes calls for an executor in another loop; any number of loops may give some.

    Args:
        make: makes the executor, in that loop.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self.background = BackgroundLoop("skills")
        self.executor = self.background.call(_made(make), 60)
        self._readers: dict[asyncio.AbstractEventLoop, _Reader] = {}
        self._batches: set[_Batch] = set()
        self._streams: set[asyncio.Event] = set()
        self._new: deque[_Batch] = deque()
        self._waking = False
        self._closed: str | None = None

    def submit(self, calls: Sequence[Call], take: TakeCompletions) -> None:
        """Run `calls` side by side while the caller goes on.

        `take` gets completions as they happen, those of one moment together, in the loop that calls this; it must not
        wait. Once the bridge is closed, calls that have not ended are returned.
        """
        if calls:
            self._start(calls, take)

    async def run(self, calls: Sequence[Call]) -> AsyncGenerator[list[Completion]]:
        """`submit` as a stream, yields what `take` would get; calls are cancelled when its reader has gone."""
        if not calls:
            return
        chunks: deque[list[Completion]] = deque()
        some = asyncio.Event()

        def take(chunk: list[Completion]) -> None:
            chunks.append(chunk)
            some.set()

        batch = self._start(calls, take)
        self._streams.add(some)
        try:
            while chunks or not batch.over:
                await some.wait()
                some.clear()
                while chunks:
                    yield chunks.popleft()
        finally:
            self._streams.discard(some)
            self._leave(batch)

    async def execute(self, call: Call) -> Completion:
        """Run one call; it is cancelled when this is."""
        future = asyncio.get_running_loop().create_future()

        def take(chunk: list[Completion]) -> None:
            if not future.done():
                future.set_result(chunk[0])

        batch = self._start([call], take)
        try:
            completion: Completion = await future
        finally:
            self._leave(batch)
        return completion

    async def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; returns how many were running."""
        loop = self.background.loop
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._cancel(task_ids), loop))

    def cancel_soon(self, task_ids: Sequence[str]) -> None:
        """Cancel running calls while the caller goes on; they end as `cancelled`."""
        self.background.loop.call_soon_threadsafe(self.executor.cancel, task_ids)

    def close(self, reason: str, culprits: Collection[str] = (), message: str = "") -> None:
        """Take no more calls and end the open batches: the calls of `culprits` (ids of tasks) fail, the others are
        returned, each in the loop that gave it. Callable from any thread.
        """
        self._closed = reason
        for batch in list(self._batches):
            # A loop that has been closed itself waits for nothing.
            with contextlib.suppress(RuntimeError):
                batch.reader.loop.call_soon_threadsafe(batch.close, reason, culprits, message)

    @property
    def open_streams(self) -> int:
        """Batches whose reader has not received everything yet."""
        return len(self._batches) + len(self._streams)

    @property
    def closed(self) -> str | None:
        """Why no calls are taken; None while they are."""
        return self._closed

    def stop_taking(self, reason: str) -> None:
        """Take no more calls; those that run go on."""
        self._closed = reason

    def _start(self, calls: Sequence[Call], take: TakeCompletions) -> _Batch:
        loop = asyncio.get_running_loop()
        reader = self._readers.get(loop)
        if reader is None:
            reader = self._readers[loop] = _Reader(loop)
        batch = _Batch(calls, reader, take, self._finish)
        # In this order: whoever closes the bridge in another thread finds the batch, or it is seen here.
        self._batches.add(batch)
        if self._closed is not None:
            loop.call_soon(batch.close, self._closed, (), "")
            return batch
        self._new.append(batch)
        if not self._waking:
            self._waking = True
            self.background.loop.call_soon_threadsafe(self._submit)
        return batch

    def _submit(self) -> None:
        self._waking = False
        while self._new:
            batch = self._new.popleft()
            batch.jobs = self.executor.submit(batch.calls, batch.end)

    def _finish(self, batch: _Batch) -> None:
        """The reader has everything; what the batch still runs in the other loop is not wanted any more."""
        self._batches.discard(batch)
        if batch.running:
            self.background.loop.call_soon_threadsafe(self._withdraw, batch)

    def _leave(self, batch: _Batch) -> None:
        """The reader has gone."""
        if not batch.over:
            batch.over = True
            self._finish(batch)

    def _withdraw(self, batch: _Batch) -> None:
        self.executor.withdraw(batch.jobs)

    async def _cancel(self, task_ids: Sequence[str]) -> int:
        return self.executor.cancel(task_ids)


async def _made(make: Callable[[], Executor]) -> Executor:
    return make()


def returned(call: Call, reason: str) -> Completion:
    """The completion of a call that the host returns unfinished through no fault of the task."""
    return failed(call, 0.0, HANDED_BACK, reason, retryable=True)
