"""Runs many calls in few asyncio tasks.

A task and a timer for every call cost more than a small skill does. So one task runs calls one after the other for as
long as they end without waiting for anything. A call that does wait gets, in that moment, its timer and the task for
itself: its neighbours go on in others, and nothing of it (cancellation, context variables) reaches them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, copy_context

from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.skill_decorator import SkillSpec
from seedcore.telemetry.traces.run_trace import RunTrace
from seedcore.worker.execution.begun_journal import Slot
from seedcore.worker.execution.fair_queue import FairQueue

TURN_S = 0.01
"""A task yields to others after this long, however quick its calls are."""

GRACE_S = 5.0
"""Seconds that a call has to end after its cancellation. Then it is given up: its slot is lost until it does end."""


class Job:
    """One call on its way.

    Attributes:
        call: what to run.
        spec: the skill; None when there is none of that name.
        began: when it began (`time.perf_counter`); 0.0 before.
        limit_s: seconds that it may take from then on; set before it first waits.
        cancelled: its end was requested.
        late: its time limit has passed.
        slot: where the journal notes it, as long as it runs.
        trace: of its run, when that is recorded.
        ended: it is over, was cancelled before it began, or was given up.
        usage: (tokens, money) that the skill reported.
    """

    __slots__ = (
        "agent",
        "began",
        "call",
        "cancelled",
        "done",
        "ended",
        "late",
        "limit_s",
        "slot",
        "spec",
        "task",
        "timer",
        "trace",
        "usage",
        "waited",
    )

    def __init__(self, call: Call, spec: SkillSpec | None, done: Callable[[Completion], None]) -> None:
        self.call, self.spec, self.done, self.agent = call, spec, done, call.agent
        self.began = self.limit_s = 0.0
        self.cancelled = self.late = self.ended = self.waited = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.usage: tuple[float, float] | None = None
        self.slot: Slot | None = None
        self.trace: RunTrace | None = None


class TaskPool:
    """Runs at most `limit` jobs at once, taking turns between agents.

    Args:
        run: does a job; None when it was cancelled.
        end: takes a job's completion; None when it was cancelled, perhaps before it began.
        give_up: the completion of a job that ignores its cancellation; None when that was on request.
        limit: tasks, and so jobs, at once.
    """

    def __init__(
        self,
        run: Callable[[Job], Awaitable[Completion | None]],
        end: Callable[[Job, Completion | None], None],
        give_up: Callable[[Job], Completion | None],
        limit: int,
    ) -> None:
        self._run, self._end, self._give_up, self._limit = run, end, give_up, limit
        self._waiting: FairQueue[Job] = FairQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh: list[Job] = []
        self._looking = False
        self.lost = 0

    def add(self, jobs: Iterable[Job]) -> None:
        """Run `jobs` as soon as there is room for them."""
        self._waiting.add(jobs)
        self._start(1)

    def allow(self, limit: int) -> None:
        """From now on run at most `limit` jobs at once; those that run go on."""
        self._limit = limit
        self._start(1)

    def cancel(self, job: Job) -> None:
        """End a job: its skill sees `asyncio.CancelledError`; one that has not begun never does."""
        job.cancelled = True
        if job.task is not None:
            self._interrupt(job)
        elif not job.ended:
            self._finish(job, None)

    def restart_clock(self, job: Job) -> None:
        """The time until now was not the job's own: its time limit counts from here."""
        job.began = time.perf_counter()
        if job.timer is not None and not job.late and not job.cancelled:
            job.timer.cancel()
            job.timer = asyncio.get_running_loop().call_later(job.limit_s, self._time_out, job)

    def _start(self, count: int) -> None:
        for _ in range(min(count, len(self._waiting), self._limit - len(self._tasks))):
            task = asyncio.create_task(self._run_jobs())
            self._tasks.add(task)
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start(1)

    async def _run_jobs(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        context, turn = copy_context(), time.perf_counter()
        while self._waiting and len(self._tasks) <= self._limit:
            job = self._waiting.take()
            if job.ended:
                continue
            job.task = task
            self._watch(job)
            completion = None
            try:
                completion = await self._run(job)
            finally:
                job.task = None
                if job.ended:
                    self.lost -= 1
                else:
                    self._finish(job, completion)
            if job.waited or task.cancelling() or _differs(context):
                return
            if time.perf_counter() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = time.perf_counter()

    def _finish(self, job: Job, completion: Completion | None) -> None:
        job.ended = True
        if job.timer is not None:
            job.timer.cancel()
        self._end(job, completion)

    def _watch(self, job: Job) -> None:
        """Look at the job in the event loop's next turn: if it has not ended by then, it waits for something."""
        self._fresh.append(job)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        fresh, self._fresh, self._looking = self._fresh, [], False
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        waits = [job for job in fresh if not job.ended]
        for job in waits:
            job.waited = True
            if job.timer is None:
                job.timer = loop.call_later(max(0.0, job.began + job.limit_s - now), self._time_out, job)
        # Twice as many each time: the first few show how many tasks the rest will need.
        self._start(2 * len(waits))

    def _time_out(self, job: Job) -> None:
        if job.task is not None and not job.ended:
            job.late = True
            self._interrupt(job)

    def _interrupt(self, job: Job) -> None:
        assert job.task is not None
        job.task.cancel()
        if job.timer is not None:
            job.timer.cancel()
        job.timer = asyncio.get_running_loop().call_later(GRACE_S, self._abandon, job)

    def _abandon(self, job: Job) -> None:
        if job.task is None or job.ended:
            return
        self.lost += 1
        self._finish(job, self._give_up(job))


def _differs(context: Context) -> bool:
    """Whether a skill has changed its context variables."""
    try:
        return copy_context() != context
    except BaseException:  # noqa: BLE001 - the values are the skill's, and comparing them (arrays, say) may raise
        return True
