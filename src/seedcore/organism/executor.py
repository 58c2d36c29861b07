"""Running skills: validate, bound by time and size, and turn every ending into a Completion."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from pydantic import BaseModel, ValidationError

from seedcore.errors import SeedCoreError, SkillError, wrong_fields
from seedcore.organism.agents import AgentBook
from seedcore.settings import Settings
from seedcore.skills.calls import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.sdk import SkillClients, SkillContext, SkillSpec
from seedcore.utils.jsontext import unfit
from seedcore.utils.logs import get_logger, mask

MAX_MESSAGE = 2000


class _UnfitError(Exception):
    """The params do not fit the skill's model."""


class _TooSlowError(Exception):
    """The skill's time limit has passed."""


class SkillExecutor:
    """Runs calls for the agents of one host, at most `settings.host_concurrency` at once."""

    def __init__(
        self, registry: SkillRegistry, settings: Settings, agents: AgentBook, clients: SkillClients | None = None
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._agents = agents
        self._clients = clients
        self._slots = asyncio.Semaphore(settings.host_concurrency)
        # A task's earlier attempt may still run here when the next one comes: its lease was lost.
        self._running: dict[str, set[asyncio.Task[Completion]]] = {}
        self._log = get_logger("seedcore.organism.host")

    async def run(self, calls: Sequence[Call]) -> AsyncGenerator[list[Completion]]:
        """Run `calls` side by side; yields completions as they happen, those of one moment together."""
        done: asyncio.Queue[Completion] = asyncio.Queue()
        tasks = [self._start(call, done) for call in calls]
        left = len(tasks)
        try:
            while left:
                chunk = [await done.get()]
                await asyncio.sleep(0)
                while not done.empty():
                    chunk.append(done.get_nowait())
                left -= len(chunk)
                yield chunk
        finally:
            # The reader has gone (its dispatcher died or lost the leases): nobody wants these results.
            for task in tasks:
                task.cancel()

    def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; the skill sees `asyncio.CancelledError`. Returns how many were running."""
        found = [attempt for task_id in task_ids for attempt in self._running.get(task_id, ())]
        for attempt in found:
            attempt.cancel()
        return len(found)

    @property
    def running(self) -> int:
        """Calls that have begun or wait for a slot."""
        return sum(map(len, self._running.values()))

    def _start(self, call: Call, done: asyncio.Queue[Completion]) -> asyncio.Task[Completion]:
        self._agents.accepted(call.agent, call.skill)
        attempt = asyncio.create_task(self._in_slot(call))
        self._running.setdefault(call.task_id, set()).add(attempt)
        # A callback, for a task that is cancelled before its first step never runs a line of its own.
        attempt.add_done_callback(lambda ended: done.put_nowait(self._ended(call, ended)))
        return attempt

    def _ended(self, call: Call, attempt: asyncio.Task[Completion]) -> Completion:
        attempts = self._running[call.task_id]
        attempts.discard(attempt)
        if not attempts:
            del self._running[call.task_id]
        self._agents.left(call.agent, call.skill)
        if attempt.cancelled():
            return _failed(call, 0.0, "cancelled", "cancelled on request", retryable=False)
        completion = attempt.result()
        self._agents.learned(call.agent, call.skill, completion.seconds, ok=completion.ok)
        return completion

    async def _in_slot(self, call: Call) -> Completion:
        async with self._slots:
            began = time.perf_counter()
            try:
                text = await self._result(call)
            except asyncio.CancelledError:
                if _requested():
                    raise
                failure: BaseException = RuntimeError("the skill raised CancelledError, and nobody had cancelled it")
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's skill may raise anything
                failure = error
            else:
                seconds = time.perf_counter() - began
                return Completion(call.task_id, call.token, call.agent, call.skill, True, seconds, result=text)
        return self._failure(call, time.perf_counter() - began, failure)

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

    async def _result(self, call: Call) -> str:
        spec = self._registry.find(call.skill)
        try:
            params = spec.params.model_validate_json(call.params)
        except ValidationError as error:
            wrong = wrong_fields(error.errors(include_url=False, include_input=False))
            raise _UnfitError("; ".join(f"{e.field}: {e.message}" for e in wrong[:5])) from None
        return self._encode(spec, await self._bounded(spec, params, call))

    async def _bounded(self, spec: SkillSpec, params: BaseModel, call: Call) -> object:
        context = SkillContext(
            task_id=call.task_id,
            attempt=call.attempt,
            lease_token=call.token,
            idempotency_key=call.idempotency_key,
            logger=self._log.bind(skill=call.skill, task=call.task_id, attempt=call.attempt),
            clients=self._clients,
        )
        limit = self._timeout(spec, call)
        try:
            async with asyncio.timeout(limit) as deadline:
                return await spec.function(params, context)
        except TimeoutError:
            if deadline.expired():
                raise _TooSlowError(f"the skill took longer than {limit:g} s") from None
            raise

    def _timeout(self, spec: SkillSpec, call: Call) -> float:
        return call.timeout_s or spec.timeout_s or self._settings.skill_timeout_s

    def _encode(self, spec: SkillSpec, result: object) -> str:
        if not isinstance(result, spec.result):
            expected, got = spec.result.__name__, type(result).__name__
            raise SkillError(f"the skill returned {got}, declared is {expected}", retryable=False)
        text = result.model_dump_json()
        if len(text.encode()) > self._settings.max_result_bytes:
            limit = self._settings.max_result_bytes
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
