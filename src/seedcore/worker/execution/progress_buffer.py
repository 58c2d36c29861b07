"""Collects what skills say of how far they are: the newest of each attempt, written in batches.

A call that ends with a progress that is not written yet ends a moment later: the progress is written first. A call
whose skill says nothing of its progress pays nothing.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import orjson

from seedcore.skills.host_protocol import Completion
from seedcore.skills.reports import SkillProgress
from seedcore.telemetry.logs import get_logger, mask

EVERY_S = 0.25
"""An attempt's progress is written at most this often; the last one also sooner."""

GATHER_S = 0.05
"""Pause between two writes, in which the progress of other tasks gathers."""

MAX_HOLD_S = 1.0
"""Longest time that the end of a call waits for its last progress, should the database be slow or away."""

MAX_KEPT = 10_000
"""Attempts whose progress is kept while it cannot be written."""

ProgressRow = tuple[UUID, int, str]
"""A task, the fencing token of the attempt, and the progress as JSON text."""

Write = Callable[[Sequence[ProgressRow]], Awaitable[None]]
Key = tuple[str, int]


class _HeldEnd:
    """The end of a call, passed on once."""

    __slots__ = ("_completion", "_done", "loop", "passed")

    def __init__(self, done: Callable[[Completion], None], completion: Completion) -> None:
        self.loop = asyncio.get_running_loop()
        self._done, self._completion, self.passed = done, completion, False

    def pass_on(self) -> None:
        """In the loop that it was made in."""
        if not self.passed:
            self.passed = True
            self._done(self._completion)


class ProgressBuffer:
    """The progress of the attempts of one host; skills report from any thread, one loop writes.

    Attributes:
        failures: writes that failed; what they were to write is tried again.
        dropped: reports that were forgotten, because nothing could be written for long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[Key, SkillProgress] = {}
        self._taken: dict[Key, SkillProgress] = {}
        self._written_at: dict[Key, float] = {}
        self._ends: dict[Key, list[_HeldEnd]] = {}
        self._writer: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self.failures = self.dropped = 0

    def report(self, task_id: str, token: int, progress: SkillProgress) -> None:
        """Take the newest progress of an attempt.

        Raises:
            ValueError: `task_id` is no UUID.
        """
        UUID(task_id)
        key = task_id, token
        with self._lock:
            if len(self._latest) < MAX_KEPT or key in self._latest:
                self._latest[key] = progress
            else:
                self.dropped += 1
        self._wake()

    def status(self) -> dict[str, object]:
        """`{progress: {failures, dropped}}` once something went wrong."""
        wrong = {"failures": self.failures, "dropped": self.dropped}
        return {"progress": wrong} if any(wrong.values()) else {}

    def hold_end(self, done: Callable[[Completion], None], completion: Completion) -> bool:
        """Call `done` once the attempt's progress is written, in this loop; False when there is nothing to wait for.

        It is called after MAX_HOLD_S in any case.
        """
        if not self._latest and not self._taken:
            return False
        key = completion.task_id, completion.token
        try:
            end = _HeldEnd(done, completion)
        except RuntimeError:  # the loop is being closed
            return False
        with self._lock:
            if self._writer is None or (key not in self._latest and key not in self._taken):
                return False
            self._ends.setdefault(key, []).append(end)
        end.loop.call_later(MAX_HOLD_S, end.pass_on)
        self._wake()
        return True

    def take(self) -> list[ProgressRow]:
        """What is to be written now; say with `written` when it is, before the next call of this."""
        with self._lock:
            now = time.monotonic()
            self._written_at = {key: at for key, at in self._written_at.items() if now - at < EVERY_S}
            due = [key for key in self._latest if key in self._ends or key not in self._written_at]
            self._taken = {key: self._latest.pop(key) for key in due}
            self._written_at |= dict.fromkeys(due, now)
        return [(UUID(task_id), token, _json(progress)) for (task_id, token), progress in self._taken.items()]

    def written(self, *, ok: bool = True) -> None:
        """What was taken is written, or could not be: then that of attempts which go on is taken again."""
        with self._lock:
            taken, self._taken = self._taken, {}
            ends = {key: self._ends.pop(key) for key in taken if key in self._ends}
            if not ok:
                self._latest = {key: at for key, at in taken.items() if key not in ends} | self._latest
        for end in itertools.chain.from_iterable(ends.values()):
            end.loop.call_soon_threadsafe(end.pass_on)

    async def run(self, write: Write) -> None:
        """Write what is reported, until this is cancelled."""
        some = asyncio.Event()
        self._writer = asyncio.get_running_loop(), some
        log = get_logger("seedcore.worker.progress")
        try:
            while True:
                # What is left is not due yet.
                await _wait(some, EVERY_S if self._latest else None)
                some.clear()
                rows = self.take()
                try:
                    if rows:
                        await write(rows)
                except Exception as error:  # noqa: BLE001 - whatever it is, the next progress is tried again
                    log.warning("progress is not written", tasks=len(rows), reason=f"{type(error).__name__}: {error}")
                    self.failures += 1
                    self.written(ok=False)
                else:
                    self.written()
                await asyncio.sleep(GATHER_S)
        finally:
            self._writer = None
            self.written(ok=False)

    def _wake(self) -> None:
        if (writer := self._writer) is not None and not writer[1].is_set():
            writer[0].call_soon_threadsafe(writer[1].set)


async def _wait(some: asyncio.Event, longest_s: float | None) -> None:
    try:
        async with asyncio.timeout(longest_s):
            await some.wait()
    except TimeoutError:
        pass


def _json(progress: SkillProgress) -> str:
    if "note" in progress:
        progress = {**progress, "note": mask(progress["note"])}
    return orjson.dumps(progress).decode()
