"""Running skills: validate, bound by time and size, and turn every ending into a Completion."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from pydantic import ValidationError

from seedcore.errors import NotConfiguredError, SeedCoreError, SkillError, wrong_fields
from seedcore.organism.agents import AgentBook
from seedcore.organism.strands import Job, Strands
from seedcore.settings import Settings
from seedcore.skills.calls import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.sdk import Kind, SkillClients, SkillContext, SkillSpec
from seedcore.utils.jsontext import unfit
from seedcore.utils.logs import get_logger, mask

MAX_MESSAGE = 2000


class _UnfitError(Exception):
    """The params do not fit the skill's model."""


class _TooSlowError(Exception):
    """The skill's time limit has passed."""


class _SkillLogger:
    """A skill's logger, bound to its task when used: most skills log nothing, and binding is dearer than they."""

    __slots__ = ("_call", "_log")

    def __init__(self, log: Any, call: Call) -> None:
        self._log, self._call = log, call

    def __getattr__(self, name: str) -> Any:
        bound = self._log.bind(skill=self._call.skill, task=self._call.task_id, attempt=self._call.attempt)
        return getattr(bound, name)


class SkillExecutor:
    """Runs calls for the agents of one host, at most `settings.host_concurrency` at once."""

    def __init__(
        self, registry: SkillRegistry, settings: Settings, agents: AgentBook, clients: SkillClients | None = None
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._agents = agents
        self._clients = clients
        self._strands = Strands(self._attempt, self._ended, settings.host_concurrency)
        # A task's earlier attempt may still run here when the next one comes: its lease was lost.
        self._running: dict[str, list[Job]] = {}
        self._log = get_logger("seedcore.organism.host")

    async def run(self, calls: Sequence[Call]) -> AsyncGenerator[list[Completion]]:
        """Run `calls` side by side; yields completions as they happen, those of one moment together."""
        done: list[Completion] = []
        some = asyncio.Event()

        def ended(completion: Completion) -> None:
            done.append(completion)
            some.set()

        jobs = [Job(call, ended) for call in calls]
        self._agents.accept((call.agent, call.skill) for call in calls)
        for job in jobs:
            self._running.setdefault(job.call.task_id, []).append(job)
        self._strands.add(jobs)
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
            # The reader has gone (its dispatcher died or lost the leases): nobody wants these results.
            for job in jobs:
                if not job.ended:
                    self._strands.cancel(job)

    def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; the skill sees `asyncio.CancelledError`. Returns how many were running."""
        found = [job for task_id in task_ids for job in self._running.get(task_id, ())]
        for job in found:
            self._strands.cancel(job)
        return len(found)

    @property
    def running(self) -> int:
        """Calls that have begun or wait for a slot."""
        return sum(map(len, self._running.values()))

    def _ended(self, job: Job, completion: Completion | None) -> None:
        call = job.call
        jobs = self._running[call.task_id]
        jobs.remove(job)
        if not jobs:
            del self._running[call.task_id]
        if completion is None:
            self._agents.left(call.agent, call.skill)
            job.done(_failed(call, 0.0, "cancelled", "cancelled on request", retryable=False))
        else:
            self._agents.ended(call.agent, call.skill, completion.seconds, ok=completion.ok)
            job.done(completion)

    async def _attempt(self, job: Job) -> Completion | None:
        """None when it was cancelled on request."""
        call = job.call
        job.began = began = time.perf_counter()
        try:
            text = await self._result(job)
        except asyncio.CancelledError:
            if job.cancelled or (not job.late and _requested()):
                return None
            failure: BaseException = RuntimeError("the skill raised CancelledError, and nobody had cancelled it")
            if job.late:
                failure = TimeoutError()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's skill may raise anything
            failure = error
        else:
            seconds = time.perf_counter() - began
            return Completion(call.task_id, call.token, call.agent, call.skill, True, seconds, text)
        if job.late and isinstance(failure, TimeoutError):
            failure = _TooSlowError(f"the skill took longer than {job.limit_s:g} s")
        return self._with_policy(call, self._failure(call, time.perf_counter() - began, failure))

    def _with_policy(self, call: Call, failed: Completion) -> Completion:
        """When to try again, where the skill says something about that."""
        spec = self._registry.get(call.skill)
        if spec is None or not failed.retryable or (spec.retry.base_s is None and spec.retry.max_s is None):
            return failed
        base_s = spec.retry.base_s or self._settings.retry_base_s
        longest = min(spec.retry.max_s or self._settings.retry_max_s, base_s * 2 ** (call.attempt - 1))
        return failed._replace(retry_within_s=longest)

    def _failure(self, call: Call, seconds: float, error: BaseException) -> Completion:
        match error:
            case _UnfitError():
                return _failed(call, seconds, "invalid_params", str(error), retryable=False)
            case _TooSlowError():
                return _failed(call, seconds, "skill_timeout", str(error), retryable=True)
            case SeedCoreError():
                return _failed(call, seconds, error.code, error.detail, retryable=error.transient)
        self._log.warning("skill raised", skill=call.skill, task=call.task_id, exc_info=error)
        return _failed(call, seconds, "skill_failed", f"{type(error).__name__}: {error}", retryable=True)

    async def _result(self, job: Job) -> str:
        call = job.call
        spec = self._registry.find(call.skill)
        try:
            params = spec.params.model_validate_json(call.params)
        except ValidationError as error:
            wrong = wrong_fields(error.errors(include_url=False, include_input=False))
            raise _UnfitError("; ".join(f"{e.field}: {e.message}" for e in wrong[:5])) from None
        logger = _SkillLogger(self._log, call)
        context = SkillContext(call.task_id, call.attempt, call.token, call.idempotency_key, logger, self._clients)
        job.limit_s = self._timeout(spec, call)
        if spec.kind is Kind.PROCESS:
            raise NotConfiguredError("this version of the host runs no skills in processes")
        if spec.kind is Kind.THREAD:
            return self._encode(spec, await asyncio.to_thread(spec.function, params, context))
        return self._encode(spec, await spec.function(params, context))

    def _timeout(self, spec: SkillSpec, call: Call) -> float:
        return call.timeout_s or spec.timeout_s or self._settings.skill_timeout_s

    def _encode(self, spec: SkillSpec, result: object) -> str:
        if not isinstance(result, spec.result):
            expected, got = spec.result.__name__, type(result).__name__
            raise SkillError(f"the skill returned {got}, declared is {expected}", retryable=False)
        text = result.model_dump_json()
        limit = self._settings.max_result_bytes
        # A character takes 1 to 4 bytes: most results need no second copy to be measured.
        if len(text) * 4 > limit and len(text.encode()) > limit:
            raise SkillError(f"the result is larger than {limit} bytes (SEEDCORE_MAX_RESULT_BYTES)", retryable=False)
        if (reason := unfit(text)) is not None:
            raise SkillError(f"the result {reason}", retryable=False)
        return text


def _requested() -> bool:
    """Whether somebody asked for the cancellation that the current task sees."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _failed(call: Call, seconds: float, code: str, message: str, *, retryable: bool) -> Completion:
    clean = mask(message).replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_MESSAGE]
    return Completion(
        call.task_id,
        call.token,
        call.agent,
        call.skill,
        False,
        seconds,
        error_code=code,
        error_message=clean,
        retryable=retryable,
    )
