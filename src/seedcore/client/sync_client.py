"""The client for synchronous code."""

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload
from uuid import UUID

import httpx

from seedcore.client import operations
from seedcore.client.client_options import http_arguments, http_policy
from seedcore.client.facts import Facts
from seedcore.client.http_protocol import (
    CloseStream,
    ConnectionFailure,
    Emit,
    OpenStream,
    Pause,
    ReadStream,
    Reply,
    SendRequest,
    Step,
    StepAnswer,
    Steps,
)
from seedcore.client.memories import Memories
from seedcore.client.models import Event, NewTask, Options, Params, QueueState, RunOptions, Skill, Status, Task

T = TypeVar("T")


class SeedCore:
    """A SeedCore, reached over HTTP. One object serves any number of threads; close it, or use `with`.

    Connection errors, 429 and 503 are retried with backoff for up to `retry_for_s`; `Retry-After` is honoured.
    SeedCore's errors are raised as the classes of `seedcore.errors`; when nothing answers, UnavailableError. Params,
    options and ids that are not allowed raise InvalidInputError.

    Args:
        base_url: where the gateway is, such as `http://127.0.0.1:8000`.
        api_key: one of its SEEDCORE_API_KEYS; None when it needs none.
        timeout_s: seconds to connect, and for every read and write.
        retry_for_s: seconds after the first attempt in which a retry may begin.
        transport: an httpx transport, for certificates or proxies of your own.

    Attributes:
        facts: what is held to be true: add, get, find, change, remove.
        memory: what is remembered: remember, search.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retry_for_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._policy = http_policy(base_url, timeout_s, retry_for_s)
        self._http = httpx.Client(**http_arguments(self._policy, api_key), transport=transport)
        self.facts = Facts(self._policy, self._drive, self._iterate)
        self.memory = Memories(self._policy, self._drive)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._policy.base_url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, task_type: str, params: Params | None = None, **options: Unpack[Options]) -> Task:
        """Submit a task; with an `idempotency_key` that was used before, the first task is returned.

        Raises:
            ConflictError: the key was used with another type or other params.
        """
        return self._drive(operations.submit(self._policy, NewTask.of(task_type, params, options)))

    def submit_many(
        self,
        tasks: Iterable[NewTask],
        *,
        max_tasks: int = operations.MAX_BATCH_TASKS,
        max_bytes: int = operations.MAX_BATCH_BYTES,
    ) -> list[UUID]:
        """Submit any number of tasks in batches of at most `max_tasks` and `max_bytes`; their ids, in order.

        Raises:
            SubmitManyError: a batch failed; it holds what was accepted before, and the tasks to submit again.
        """
        return self._drive(operations.submit_many(self._policy, tasks, max_tasks, max_bytes))

    @overload
    def run(
        self,
        task_type: str,
        params: Params | None = None,
        *,
        returns: type[T],
        timeout_s: float = 60.0,
        **options: Unpack[RunOptions],
    ) -> T: ...

    @overload
    def run(
        self, task_type: str, params: Params | None = None, *, timeout_s: float = 60.0, **options: Unpack[RunOptions]
    ) -> Any: ...

    def run(
        self,
        task_type: str,
        params: Params | None = None,
        *,
        returns: type[object] | None = None,
        timeout_s: float = 60.0,
        **options: Unpack[RunOptions],
    ) -> object:
        """Submit a task, wait up to `timeout_s` for its end, and return its result as a `returns`.

        Raises:
            TaskFailedError: it failed or was cancelled; `code` and `message` say why.
            UnexpectedResultError: its result does not fit `returns`.
            DeadlineError: it has not ended in time; it continues, and `extra["task_id"]` names it.
        """
        return self._drive(operations.run(self._policy, NewTask.of(task_type, params, options), returns, timeout_s))

    def wait(self, task_id: UUID | str, timeout_s: float = 60.0) -> Task:
        """The task once it has ended, however it ended. Follows its events; polls when no stream gets through.

        Raises:
            DeadlineError: it has not ended after `timeout_s`.
        """
        return self._drive(operations.wait(self._policy, task_id, timeout_s))

    def events(self, task_id: UUID | str, *, after: int = 0) -> Generator[Event]:
        """A task's events after the id `after`, as they happen, to its last one; a broken stream is resumed.

        Holds a connection until the generator ends or is closed.
        """
        return self._iterate(operations.events(self._policy, task_id, after), Event)

    def get(self, task_id: UUID | str) -> Task:
        """One task."""
        return self._drive(operations.get(self._policy, task_id))

    def find(
        self,
        *,
        status: Status | str | None = None,
        task_type: str | None = None,
        queue: str | None = None,
        domain: str | None = None,
        parent_id: UUID | str | None = None,
        tenant: str | None = None,
        limit: int | None = None,
        page_size: int = 50,
    ) -> Generator[Task]:
        """Up to `limit` tasks, the newest first; pages of `page_size` (1 to 500) are fetched as needed."""
        filters = {"status": status, "type": task_type, "queue": queue, "domain": domain, "parent_id": parent_id}
        query = {**filters, "tenant": tenant}
        return self._iterate(operations.find(self._policy, query, limit, page_size), Task)

    def cancel(self, task_id: UUID | str) -> Task:
        """Cancel a task; ConflictError when it has ended."""
        return self._drive(operations.control(self._policy, task_id, "cancel"))

    def retry(self, task_id: UUID | str) -> Task:
        """Run a failed or cancelled task again; ConflictError when it is neither."""
        return self._drive(operations.control(self._policy, task_id, "retry"))

    def approve(self, task_id: UUID | str) -> Task:
        """Approve a task that waits for approval; ConflictError when it does not."""
        return self._drive(operations.control(self._policy, task_id, "approve"))

    def reject(self, task_id: UUID | str, reason: str | None = None) -> Task:
        """Reject a task that waits for approval; ConflictError when it does not."""
        return self._drive(operations.control(self._policy, task_id, "reject", reason))

    def plan(self, task_id: UUID | str) -> list[Task]:
        """The steps of a goal's plan; empty when it was not planned."""
        return self._drive(operations.plan(self._policy, task_id))

    def queue(self) -> QueueState:
        """How many tasks wait, for how long, and whether dispatchers make progress."""
        return self._drive(operations.queue(self._policy))

    def skills(self) -> list[Skill]:
        """Every skill, with the schemas of its params and result."""
        return self._drive(operations.skills(self._policy)).items

    def _drive(self, steps: Steps[T]) -> T:
        with _SyncTransport(self._http) as transport:
            answer: StepAnswer = None
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                answer = transport.carry_out(step)

    def _iterate(self, steps: Steps[None], kind: type[T]) -> Generator[T]:
        with _SyncTransport(self._http) as transport:
            answer: StepAnswer = None
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration:
                    return
                answer = transport.carry_out(step)
                if isinstance(step, Emit) and isinstance(step.item, kind):
                    yield step.item


class _SyncTransport:
    """Carries out steps; holds the one stream that may be open."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._open: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def carry_out(self, step: Step) -> StepAnswer:
        """Do the step; its answer."""
        try:
            match step:
                case SendRequest(request, timeout_s):
                    response = self._http.request(**request.arguments(timeout_s))
                    return Reply(response.status_code, response.headers, response.content)
                case OpenStream(request, timeout_s):
                    return self._stream(self._http.build_request(**request.arguments(timeout_s)))
                case ReadStream():
                    return next(self._chunks, b"")
                case CloseStream():
                    self._close()
                case Pause(seconds):
                    time.sleep(seconds)
        except httpx.RequestError as error:
            return ConnectionFailure.of(error)
        return None

    def _stream(self, request: httpx.Request) -> Reply:
        self._close()
        self._open = self._http.send(request, stream=True)
        reply = Reply(self._open.status_code, self._open.headers)
        if reply.is_event_stream:
            self._chunks = self._open.iter_bytes()
            return reply
        return Reply(reply.status, reply.headers, self._open.read())

    def _close(self) -> None:
        if self._open is not None:
            opened, self._open, self._chunks = self._open, None, iter(())
            with contextlib.suppress(httpx.RequestError):  # the stream may be broken already
                opened.close()
