"""Runs blocking skills in threads of the host. A thread cannot be ended from outside."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from seedcore.skills.context import CancelFlag

Result = TypeVar("Result")
Params = ParamSpec("Params")


class ThreadPool:
    """A pool of threads that counts the lost ones: those whose skill goes on after its cancellation.

    Args:
        size: threads.
        changed: called in the event loop, with the number of threads that are not lost, when that number changes.
    """

    def __init__(self, size: int, changed: Callable[[int], None]) -> None:
        self.size = size
        self.lost = 0
        self._changed = changed
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="skill")

    async def run(
        self,
        flag: CancelFlag,
        ended: Callable[[], None],
        function: Callable[Params, Result],
        *arguments: Params.args,
        **named: Params.kwargs,
    ) -> Result:
        """Call `function` in a thread. When this is cancelled it sets `flag` and does not wait for the function.

        `ended` is called, in some thread, when the function has ended or never begins.

        `function` must not raise: a future cannot hold StopIteration, and its reader would wait until the time limit.
        """
        loop = asyncio.get_running_loop()
        context = copy_context()
        future = self._pool.submit(lambda: context.run(function, *arguments, **named))
        future.add_done_callback(lambda _: ended())
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            flag.cancelled = True
            if not future.done():
                self._lose(loop, future)
            raise

    def _lose(self, loop: asyncio.AbstractEventLoop, future: "Future[Result]") -> None:
        self.lost += 1
        self._changed(self.size - self.lost)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._found))

    def _found(self) -> None:
        self.lost -= 1
        self._changed(self.size - self.lost)
