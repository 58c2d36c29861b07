"""Detects that an event loop is blocked: a skill computes, or waits, without yielding."""

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

MAX_FRAMES = 40
MAX_STACK = 8000

KILL_AFTER_LIMITS = 3
"""After so many times the limit the process is ended from outside of Python: a skill may hold the interpreter itself (a
regular expression, native code), so that this watchdog does not run either."""

MIN_KILL_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class BlockedLoop:
    """A blocked loop: for how many seconds, where, and the job that did it, if it is known."""

    seconds: float
    stack: str
    job: Job | None


class Watchdog:
    """Checks from another loop whether a loop still answers.

    Time counts by the watchdog's own ticks, not by the clock: a process that was stopped as a whole was not blocked.

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
        blocked: Callable[[BlockedLoop], Awaitable[None]],
    ) -> None:
        self._loop, self._thread, self._limit_s = loop, thread, limit_s
        self._jobs, self._blocked = jobs, blocked
        self._asked = self._answered = 0
        self.silent_s = 0.0

    async def watch(self) -> None:
        """Check until the loop is blocked."""
        try:
            await self._until_silent()
            # If what follows takes longer than this, the process ends all the same.
            faulthandler.dump_traceback_later(MIN_KILL_AFTER_S, exit=True, file=2)
            await self._blocked(BlockedLoop(self.silent_s, self._stack(), self._culprit()))
        finally:
            faulthandler.cancel_dump_traceback_later()

    async def _until_silent(self) -> None:
        tick = min(0.5, self._limit_s / 8)
        armed = float("-inf")
        while self.silent_s < self._limit_s:
            if time.monotonic() - armed > self._limit_s / 2:
                armed = time.monotonic()
                last = max(MIN_KILL_AFTER_S, KILL_AFTER_LIMITS * self._limit_s)
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
        return mask("".join(traceback.format_stack(frame, MAX_FRAMES)))[-MAX_STACK:]

    def _culprit(self) -> Job | None:
        """The job whose task holds the loop; None when it is a task that a skill has left behind."""
        current = asyncio.current_task(self._loop)
        return next((job for job in self._jobs() if current is not None and job.task is current), None)
