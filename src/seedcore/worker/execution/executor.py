"""Runs skills: validates params, bounds time and size, and turns every ending into a Completion."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import Settings
from seedcore.skills.context import CancelFlag, SkillClients, SkillContext, SkillMemory
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.params_validation import read_params
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.results import encode
from seedcore.skills.skill_decorator import Kind, SkillSpec
from seedcore.tasks.failure_codes import FailureCode
from seedcore.telemetry.logs import bind_task, get_logger, unbind_task
from seedcore.worker.execution.attempt_codec import AttemptFailure, attempt, clean, failure_of
from seedcore.worker.execution.begun_journal import BegunJournal, Slot
from seedcore.worker.execution.fair_queue import AgentLimit
from seedcore.worker.execution.process_pool import START_S, ProcessPool
from seedcore.worker.execution.progress_buffer import ProgressBuffer
from seedcore.worker.execution.run_scope import enter_run, record_run
from seedcore.worker.execution.skill_logger import SkillLogger
from seedcore.worker.execution.task_pool import Job, TaskPool
from seedcore.worker.execution.thread_pool import ThreadPool
from seedcore.worker.skill_catalog import longest_pause_s

_CANCELLED_ITSELF = "the skill raised CancelledError although its task was not cancelled"


class SkillExecutor:
    """Runs calls for the agents of one host, each kind of skill within its own limit, in one event loop.

    Args:
        registry: the skills.
        settings: limits of time, size and number.
        agents: learn from what happens.
        clients: what skills may call.
        memory: makes the private memory of an agent.
        journal: notes which calls have begun.
        progress: takes what skills say of how far they are.
        name: of the host, for traces.
    """

    def __init__(
        self,
        registry: SkillRegistry,
        settings: Settings,
        agents: AgentRegistry,
        clients: SkillClients | None = None,
        memory: Callable[[str], SkillMemory] | None = None,
        journal: BegunJournal | None = None,
        progress: ProgressBuffer | None = None,
        name: str = "",
    ) -> None:
        self._registry, self._name = registry, name
        self._settings = settings
        self._agents = agents
        self._clients = clients
        self._memory = memory
        self._journal = journal
        self._progress = progress
        self._agent_limit: AgentLimit[Job] = AgentLimit(settings.agent_concurrency)
        limits = {
            Kind.ASYNC: settings.host_concurrency,
            Kind.THREAD: settings.host_threads,
            Kind.PROCESS: settings.host_processes,
        }
        self._pools = {kind: TaskPool(self._attempt, self._ended, self._given_up, n) for kind, n in limits.items()}
        self._threads = ThreadPool(settings.host_threads, self._pools[Kind.THREAD].allow)
        self._processes = ProcessPool()
        # A task's earlier attempt may still run here when the next one comes: its lease was lost.
        self._running: dict[str, list[Job]] = {}
        self._log = get_logger("seedcore.worker.host")

    def submit(self, calls: Sequence[Call], done: Callable[[Completion], None]) -> list[Job]:
        """Run `calls` side by side; each ends with one call of `done`."""
        specs = {name: self._registry.get(name) for name in {call.skill for call in calls}}
        jobs = [Job(call, specs[call.skill], done) for call in calls]
        self._agents.accept((call.agent, call.skill) for call in calls)
        for job in jobs:
            self._running.setdefault(job.call.task_id, []).append(job)
        free = self._agent_limit.enter(jobs)
        kinds = {_kind(spec) for spec in specs.values()}
        for kind in kinds:
            self._pools[kind].add(free if len(kinds) == 1 else [job for job in free if _kind(job.spec) is kind])
        return jobs

    def withdraw(self, jobs: Sequence[Job]) -> None:
        """Cancel those of `jobs` that have not ended: their results are not wanted any more."""
        for job in jobs:
            if not job.ended:
                self._pools[_kind(job.spec)].cancel(job)

    async def run(self, calls: Sequence[Call]) -> AsyncGenerator[list[Completion]]:
        """Run `calls` side by side; yields completions as they happen, those of one moment together."""
        done: list[Completion] = []
        some = asyncio.Event()

        def ended(completion: Completion) -> None:
            done.append(completion)
            some.set()

        jobs = self.submit(calls, ended)
        left = len(jobs)
        try:
            while left:
                await some.wait()
                await asyncio.sleep(0)
                some.clear()
                chunk, done = done, []
                left -= len(chunk)
                yield chunk
        finally:
            # The reader has gone: its worker died or lost the leases.
            self.withdraw(jobs)

    def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; an async skill sees `asyncio.CancelledError`. Returns how many were running."""
        found = [job for task_id in task_ids for job in self._running.get(task_id, ())]
        self.withdraw(found)
        return len(found)

    def close(self) -> None:
        """End the idle processes."""
        self._processes.close()

    @property
    def running(self) -> int:
        """Calls that have begun or wait for a slot."""
        return sum(map(len, list(self._running.values())))

    def status(self) -> dict[str, int]:
        """Calls in hand, slots lost to skills that ignore their cancellation, and processes."""
        return {
            "running": self.running,
            "lost_slots": self._pools[Kind.ASYNC].lost,
            "lost_threads": self._threads.lost,
            "processes": self._processes.alive,
        }

    @property
    def exhausted(self) -> str | None:
        """Why no skill of some kind can run any more; None while all can."""
        if self._threads.lost >= self._threads.size:
            return f"all {self._threads.size} threads are lost to skills that go on after they were cancelled"
        if self._pools[Kind.ASYNC].lost >= self._settings.host_concurrency:
            return "all slots are lost to async skills that go on after they were cancelled"
        return None

    def jobs(self) -> list[Job]:
        """Calls in hand; callable from another thread."""
        return [job for jobs in list(self._running.values()) for job in list(jobs)]

    def _ended(self, job: Job, completion: Completion | None) -> None:
        call = job.call
        jobs = self._running[call.task_id]
        jobs.remove(job)
        if not jobs:
            del self._running[call.task_id]
        if completion is None and not job.cancelled:
            completion = failed(
                call, 0.0, FailureCode.SKILL_FAILED, "the event loop of the skill was closed", retryable=True
            )
        if completion is None:
            self._agents.release(call.agent, call.skill)
            completion = failed(call, 0.0, FailureCode.CANCELLED, "cancelled on request", retryable=False)
        else:
            role = None if job.spec is None else job.spec.role
            self._agents.finish(call.agent, call.skill, completion.seconds, ok=completion.ok, role=role)
        if job.usage is not None:
            completion = completion._replace(usage=job.usage)
        if job.trace is not None:
            record_run(job.trace, call, completion, self._name)
        if self._progress is None or not self._progress.hold_end(job.done, completion):
            job.done(completion)
        if (following := self._agent_limit.leave(job)) is not None:
            self._pools[_kind(following.spec)].add([following])

    async def _attempt(self, job: Job) -> Completion | None:
        """None when it was cancelled on request."""
        call = job.call
        if self._journal is not None:
            job.slot = self._journal.begin(call)
        bound, job.trace = bind_task(call), enter_run(call)
        job.began = time.perf_counter()
        try:
            ending = await self._result(job)
        except asyncio.CancelledError:
            if job.cancelled:
                return None
            ending = _too_slow(job) if job.late else AttemptFailure(FailureCode.SKILL_FAILED, _CANCELLED_ITSELF)
        except BaseException as error:
            # A user's skill may raise anything: SystemExit would end the loop, GeneratorExit look like its close.
            if issubclass(type(error), GeneratorExit) and _is_closed(job):
                raise
            late = job.late and issubclass(type(error), TimeoutError)
            ending = _too_slow(job) if late else failure_of(error, SkillLogger(self._log, call))
        finally:
            unbind_task(bound)
            if job.trace is not None:
                job.trace.leave()
            if job.slot is not None:
                self._note_end(job.slot)
        seconds = time.perf_counter() - job.began
        if isinstance(ending, AttemptFailure):
            return self._failed(job, seconds, ending)
        return Completion(call.task_id, call.token, call.agent, call.skill, True, seconds, ending)

    def _given_up(self, job: Job) -> Completion | None:
        """The ending of a call whose skill ignores that it was cancelled; None when that was on request."""
        self._log.warning("skill goes on after it was cancelled", **job.call.log_fields())
        if job.cancelled:
            return None
        return self._failed(job, time.perf_counter() - job.began, _too_slow(job))

    def _failed(self, job: Job, seconds: float, failure: AttemptFailure) -> Completion:
        completion = failed(job.call, seconds, failure.code, failure.message, retryable=failure.retryable)
        return self._with_policy(job.call, job.spec, completion)

    def _with_policy(self, call: Call, spec: SkillSpec | None, failure: Completion) -> Completion:
        """When to try again, where the skill has a policy of its own."""
        if spec is None or not failure.retryable or (spec.retry.base_s is None and spec.retry.max_s is None):
            return failure
        return failure._replace(retry_within_s=longest_pause_s(spec.retry, call.attempt, self._settings))

    async def _result(self, job: Job) -> str | AttemptFailure:
        call, limit = job.call, self._settings.max_result_bytes
        spec = job.spec or self._registry.find(call.skill)
        job.limit_s = call.timeout_s or spec.timeout_s or self._settings.skill_timeout_s
        if spec.kind is Kind.ASYNC:
            return encode(spec, await spec.function(read_params(spec, call.params), self._context(job)), limit)
        if spec.kind is Kind.THREAD:
            flag = CancelFlag()
            context = self._context(job, flag, asyncio.get_running_loop())
            # A thread may go on when its call is over.
            slot, job.slot = job.slot, None
            ended = partial(self._note_end, slot)
            return await self._threads.run(flag, ended, attempt, spec, call.params, context, limit)
        return await self._in_process(spec, job)

    def _note_end(self, slot: Slot | None) -> None:
        if slot is not None and self._journal is not None:
            self._journal.end(slot)

    async def _in_process(self, spec: SkillSpec, job: Job) -> str | AttemptFailure:
        # The start of a process does not count as the skill's time.
        limit_s, job.limit_s = job.limit_s, job.limit_s + START_S
        child = await self._processes.get()
        job.limit_s = limit_s
        self._pools[Kind.PROCESS].restart_clock(job)
        return await self._processes.call(child, spec, job, self._progress)

    def _context(
        self, job: Job, flag: CancelFlag | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> SkillContext:
        call = job.call
        logger = SkillLogger(self._log, call)
        memory = None if self._memory is None else self._memory(call.agent)
        key = call.idempotency_key
        return SkillContext(
            *(call.task_id, call.attempt, call.token, key, logger, self._clients, call.agent, memory, flag, loop, job),
            sink=self._progress,
            tenant=call.tenant,
            trace=job.trace,
        )


def _kind(spec: SkillSpec | None) -> Kind:
    # A call of an unknown skill fails where it costs least.
    return Kind.ASYNC if spec is None else spec.kind


def _too_slow(job: Job) -> AttemptFailure:
    return AttemptFailure(FailureCode.SKILL_TIMEOUT, f"the skill took longer than {job.limit_s:g} s")


def _is_closed(job: Job) -> bool:
    """Whether the coroutine of this call is being closed: then no event loop runs it."""
    try:
        return asyncio.current_task() is not job.task
    except RuntimeError:
        return True


def failed(call: Call, seconds: float, code: str, message: str, *, retryable: bool) -> Completion:
    """The completion of a call that failed."""
    return Completion(
        call.task_id,
        call.token,
        call.agent,
        call.skill,
        False,
        seconds,
        # Plain text: completions are pickled, and the reader may be of another release.
        error_code=str(code),
        error_message=clean(message),
        retryable=retryable,
    )
