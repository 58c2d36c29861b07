"""The client for ordinary code."""

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload
from uuid import UUID

import httpx

from seedcore.client import operations
from seedcore.client.client_options import http_arguments, policy_of
from seedcore.client.models import Event, NewTask, Options, Params, QueueState, RunOptions, Skill, Status, Task
from seedcore.client.protocol import Close, Emit, Failure, Flow, Open, Pause, Read, Reply, Send, Step

T = TypeVar("T")


class SeedCore:
    """A SeedCore, reached over HTTP. One object serves any number of threads; close it, or use `with`.

    Connection errors, 429 and 503 are tried again with backoff, `Retry-After` honoured, for `retry_for_s` at most.
    Whatever SeedCore refuses is raised as the error of `seedcore.errors` that it raised itself; when nothing answers,
    UnavailableError. A call that was given params, options or an id that are not allowed raises InvalidInputError.

    Args:
        base_url: where the gateway is, such as `http://127.0.0.1:8000`.
        api_key: one of its SEEDCORE_API_KEYS; None where it needs none.
        timeout_s: seconds for connecting, and for every read and write.
        retry_for_s: no attempt begins later than this many seconds after the first one.
        transport: httpx's way to the server, for certificates or proxies of your own.
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
        self._policy = policy_of(base_url, timeout_s, retry_for_s)
        self._http = httpx.Client(**http_arguments(self._policy, api_key), transport=transport)

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
        """Submit a task; under an `idempotency_key` that was used before, the first one comes back.

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
            SubmitManyError: a batch failed; it says what was accepted before, and how to go on.
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
        returns: Any = None,
        timeout_s: float = 60.0,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Submit a task, wait for its end for `timeout_s` at most, and give its result as a `returns`.

        Raises:
            TaskFailedError: it failed or was cancelled; `code` and `message` say why.
            UnexpectedResultError: its result is no `returns`.
            DeadlineError: it has not ended in time; it goes on, and `extra["task_id"]` names it.
        """
        return self._drive(operations.run(self._policy, NewTask.of(task_type, params, options), returns, timeout_s))

    def wait(self, task_id: UUID | str, timeout_s: float = 60.0) -> Task:
        """The task once it has ended, whatever its end. Follows its events; where no stream gets through, it polls.

        Raises:
            DeadlineError: it has not ended after `timeout_s`.
        """
        return self._drive(operations.wait(self._policy, task_id, timeout_s))

    def events(self, task_id: UUID | str, *, after: int = 0) -> Generator[Event]:
        """A task's events after the id `after`, as they happen, to its last one; a broken stream is resumed.

        It holds a connection until it ends or is closed.
        """
        return self._iterate(operations.events(self._policy, task_id, after))

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
        limit: int | None = None,
        page_size: int = 50,
    ) -> Generator[Task]:
        """Tasks, the newest first, `limit` at most; a page of `page_size` (1 to 500) is fetched when it is needed."""
        filters = {"status": status, "type": task_type, "queue": queue, "domain": domain, "parent_id": parent_id}
        return self._iterate(operations.find(self._policy, filters, limit, page_size))

    def cancel(self, task_id: UUID | str) -> Task:
        """End a task before its time; ConflictError when it has ended."""
        return self._drive(operations.control(self._policy, task_id, "cancel"))

    def retry(self, task_id: UUID | str) -> Task:
        """Run a failed or cancelled task again; ConflictError when it is neither."""
        return self._drive(operations.control(self._policy, task_id, "retry"))

    def approve(self, task_id: UUID | str) -> Task:
        """Release a task that waits for a person; ConflictError when it does not."""
        return self._drive(operations.control(self._policy, task_id, "approve"))

    def reject(self, task_id: UUID | str, reason: str | None = None) -> Task:
        """Refuse a task that waits for a person; ConflictError when it does not."""
        return self._drive(operations.control(self._policy, task_id, "reject", reason))

    def plan(self, task_id: UUID | str) -> list[Task]:
        """The steps that a goal was planned into; empty when it was not planned."""
        return self._drive(operations.plan(self._policy, task_id))

    def queue(self) -> QueueState:
        """How much waits, for how long, and whether dispatchers make progress."""
        return self._drive(operations.queue(self._policy))

    def skills(self) -> list[Skill]:
        """Every skill, with the schemas of what it takes and gives."""
        return self._drive(operations.skills(self._policy)).items

    def _drive(self, flow: Flow[T]) -> T:
        with _Wire(self._http) as wire:
            answer: Any = None
            while True:
                try:
                    step = flow.send(answer)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                answer = wire.do(step)

    def _iterate(self, flow: Flow[None]) -> Generator[Any]:
        with _Wire(self._http) as wire:
            answer: Any = None
            while True:
                try:
                    step = flow.send(answer)
                except StopIteration:
                    return
                answer = wire.do(step)
                if isinstance(step, Emit):
                    yield step.item


class _Wire:
    """Carries steps out; holds the one stream that may be open."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._open: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def do(self, step: Step) -> Any:
        """What the step is answered with."""
        try:
            match step:
                case Send(request, timeout_s):
                    answer = self._http.request(**request.arguments(timeout_s))
                    return Reply(answer.status_code, answer.headers, answer.content)
                case Open(request, timeout_s):
                    return self._stream(self._http.build_request(**request.arguments(timeout_s)))
                case Read():
                    return next(self._chunks, b"")
                case Close():
                    self._close()
                case Pause(seconds):
                    time.sleep(seconds)
        except httpx.RequestError as error:
            return Failure.of(error)
        return None

    def _stream(self, request: httpx.Request) -> Reply:
        self._close()
        self._open = self._http.send(request, stream=True)
        reply = Reply(self._open.status_code, self._open.headers)
        if reply.streams:
            self._chunks = self._open.iter_bytes()
            return reply
        return Reply(reply.status, reply.headers, self._open.read())

    def _close(self) -> None:
        if self._open is not None:
            opened, self._open, self._chunks = self._open, None, iter(())
            with contextlib.suppress(httpx.RequestError):  # what is thrown away may be broken
                opened.close()
