"""Seeing that an event loop is blocked: a skill computes, or waits, without letting anybody else have a turn."""

import asyncio
import faulthandler
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from seedcore.telemetry.logs import mask
from seedcore.worker.execution.task_pool import Job

FRAMES = 40
MOST_STACK = 8000

LAST_RESORT = 3
"""Times the limit after which the process is ended from outside of Python: a skill holds the interpreter itself (a
regular expression, native code), so that not even this watchdog has a turn."""

LAST_RESORT_LEAST_S = 30.0


@dataclass(frozen=True, slots=True)
class Blocked:
    """A blocked loop: for how many seconds, where, and the job that did it, if it can be told."""

    seconds: float
    stack: str
    job: Job | None


class Watchdog:
    """Asks a loop, from another one, whether it still turns.

    Time counts by the watchdog's own ticks, not by the clock: while the whole process was stopped, nobody was blocked.

    Args:
        loop: the loop to watch.
        thread: the thread that it runs in.
        limit_s: seconds without an answer after which it is blocked.
        jobs: the calls in hand.
        blocked: what to do then; called once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread: threading.Thread,
        limit_s: float,
        jobs: Callable[[], list[Job]],
        blocked: Callable[[Blocked], Awaitable[None]],
    ) -> None:
        self._loop, self._thread, self._limit_s = loop, thread, limit_s
        self._jobs, self._blocked = jobs, blocked
        self._asked = self._answered = 0
        self.silent_s = 0.0

    async def watch(self) -> None:
        """Ask for ever, until the loop is blocked."""
        try:
            await self._until_silent()
            # What follows needs no more time than this; if it does, the process ends all the same.
            faulthandler.dump_traceback_later(LAST_RESORT_LEAST_S, exit=True, file=2)
            await self._blocked(Blocked(self.silent_s, self._stack(), self._culprit()))
        finally:
            faulthandler.cancel_dump_traceback_later()

    async def _until_silent(self) -> None:
        tick = min(0.5, self._limit_s / 8)
        armed = float("-inf")
        while self.silent_s < self._limit_s:
            if time.monotonic() - armed > self._limit_s / 2:
                armed = time.monotonic()
                last = max(LAST_RESORT_LEAST_S, LAST_RESORT * self._limit_s)
                faulthandler.dump_traceback_later(last, exit=True, file=2)
            if self._answered == self._asked:
                self.silent_s = 0.0
                self._asked += 1
                self._loop.call_soon_threadsafe(self._answer, self._asked)
            await asyncio.sleep(tick)
            if self._answered != self._asked:
                self.silent_s += tick

    def _answer(self, number: int) -> None:
        self._answered = number

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._thread.ident or 0)
        if frame is None:
            return "the loop's thread has ended"
        return mask("".join(traceback.format_stack(frame, FRAMES)))[-MOST_STACK:]

    def _culprit(self) -> Job | None:
        """The job whose task has the loop; none when a task that a skill has left behind does."""
        current = asyncio.current_task(self._loop)
        return next((job for job in self._jobs() if current is not None and job.task is current), None)
