"""The operations of the API as generators of steps, shared by the sync and the async client."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from seedcore.client.errors import SubmitManyError, TaskFailedError, UnexpectedResultError
from seedcore.client.event_stream import Cursor, follow_stream
from seedcore.client.http_protocol import PREFIX, Emit, FailedAttempt, Pause, Request, Steps
from seedcore.client.http_retry import HttpPolicy, Retries, call
from seedcore.client.models import NewTask, PlanSteps, QueueState, SkillList, Status, Task, TaskIds, TaskPage, to_json
from seedcore.errors import DeadlineError, FieldError, InvalidInputError, SeedCoreError, TooLargeError, UnavailableError

MAX_BATCH_TASKS = 10_000
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""What SeedCore accepts in one batch by default."""

MAX_SILENT_STREAMS = 3
"""Event streams in a row without a byte, after which `wait` only polls."""

MAX_POLL_S = 2.0
LAST_POLL_S = 1.0

IN_HEADERS = frozenset({"tenant", "traceparent"})
"""Options of a task that HTTP takes as headers, of all tasks of a request."""

_HEAD, _TAIL = b'{"tasks":[', b"]}"


def task_path(task_id: UUID | str, action: str = "") -> str:
    """The path of a task, or of an action on it.

    Raises:
        InvalidInputError: it is not a task id.
    """
    try:
        known = task_id if isinstance(task_id, UUID) else UUID(task_id)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInputError.for_field("task_id", "not a valid task id") from None
    return f"{PREFIX}/tasks/{known}" + (f"/{action}" if action else "")


def submit(policy: HttpPolicy, task: NewTask, until: float | None = None) -> Steps[Task]:
    """Submit one task. It always gets an idempotency key, so that sending it again creates no second one."""
    body = task.keyed(str(uuid.uuid4())).encode(without=IN_HEADERS)
    request = Request("POST", f"{PREFIX}/tasks", body=body, headers=task.headers)
    return (yield from call(policy, request, Task, until))


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks of one `POST /tasks/batch`, and its body."""

    tasks: list[NewTask]
    body: bytes


def batches(tasks: Iterable[NewTask], max_tasks: int, max_bytes: int) -> Iterator[Batch]:
    """The tasks in order, as many in a batch as fit and have one tenant and trace; `tasks` is consumed lazily.

    Raises:
        InvalidInputError: a task's params cannot be written as JSON.
        TooLargeError: a task is too large for any batch.
    """
    prefix = uuid.uuid4().hex
    held: list[NewTask] = []
    pieces: list[bytes] = []
    size = len(_HEAD) + len(_TAIL)
    for n, given in enumerate(tasks):
        task = given.keyed(f"{prefix}-{n}")
        piece = task.encode(without=IN_HEADERS)
        if len(_HEAD) + len(piece) + len(_TAIL) > max_bytes:
            message = f"{len(piece)} bytes do not fit into a batch of at most {max_bytes}"
            raise TooLargeError(f"params: {message}.", errors=[FieldError("params", message)], limit=max_bytes)
        # Every piece except the first has a comma in front.
        full = len(held) == max_tasks or size + len(piece) + bool(held) > max_bytes
        if full or (held and (held[-1].tenant, held[-1].traceparent) != (task.tenant, task.traceparent)):
            yield Batch(held, _HEAD + b",".join(pieces) + _TAIL)
            held, pieces, size = [], [], len(_HEAD) + len(_TAIL)
        size += len(piece) + bool(held)
        held.append(task)
        pieces.append(piece)
    if held:
        yield Batch(held, _HEAD + b",".join(pieces) + _TAIL)


def submit_many(policy: HttpPolicy, tasks: Iterable[NewTask], max_tasks: int, max_bytes: int) -> Steps[list[UUID]]:
    """Submit in batches, each all or none.

    Raises:
        SubmitManyError: a batch failed; it says what was accepted before.
    """
    if min(max_tasks, max_bytes) < 1:
        raise InvalidInputError("max_tasks and max_bytes must be at least 1.")
    ids: list[UUID] = []
    sending: list[NewTask] = []
    try:
        for batch in batches(tasks, max_tasks, max_bytes):
            sending = batch.tasks
            headers = batch.tasks[0].headers
            request = Request("POST", f"{PREFIX}/tasks/batch", body=batch.body, headers=headers)
            answer = yield from call(policy, request, TaskIds)
            if len(answer.ids) != len(batch.tasks):
                raise UnavailableError(f"{policy.base_url} gave {len(answer.ids)} ids for {len(batch.tasks)} tasks.")
            ids += answer.ids
            sending = []
    except SeedCoreError as error:
        raise SubmitManyError.of(ids, sending, error) from error
    return ids


def get(policy: HttpPolicy, task_id: UUID | str, until: float | None = None) -> Steps[Task]:
    """One task."""
    return (yield from call(policy, Request("GET", task_path(task_id)), Task, until))


def find(policy: HttpPolicy, filters: Mapping[str, object], limit: int | None, page_size: int) -> Steps[None]:
    """Emit tasks, the newest first, page after page; `limit` at most."""
    if not 1 <= page_size <= 500 or (limit is not None and limit < 0):
        raise InvalidInputError("page_size must be from 1 to 500, and limit must not be negative.")
    query = {name: str(value) for name, value in filters.items() if value is not None}
    left = limit
    cursor: dict[str, str] = {}
    while left is None or left > 0:
        size = page_size if left is None else min(page_size, left)
        request = Request("GET", f"{PREFIX}/tasks", {**query, **cursor, "limit": size})
        page = yield from call(policy, request, TaskPage)
        for task in page.items:
            yield Emit(task)
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}
        left = None if left is None else left - len(page.items)


def control(policy: HttpPolicy, task_id: UUID | str, action: str, reason: str | None = None) -> Steps[Task]:
    """Cancel, retry, approve or reject.

    It is not repeated when the response was lost: the second response would be a conflict.
    """
    body = None if reason is None else to_json({"reason": reason}, "reason")
    return (yield from call(policy, Request("POST", task_path(task_id, action), body=body, repeatable=False), Task))


def plan(policy: HttpPolicy, task_id: UUID | str) -> Steps[list[Task]]:
    """The steps of a plan."""
    return (yield from call(policy, Request("GET", task_path(task_id, "plan")), PlanSteps)).steps


def queue(policy: HttpPolicy) -> Steps[QueueState]:
    """The state of the queues."""
    return (yield from call(policy, Request("GET", f"{PREFIX}/queue"), QueueState))


def skills(policy: HttpPolicy) -> Steps[SkillList]:
    """Every skill."""
    return (yield from call(policy, Request("GET", f"{PREFIX}/skills"), SkillList))


def events(policy: HttpPolicy, task_id: UUID | str, after: int) -> Steps[None]:
    """Emit a task's events after the id `after`, to its last one; a stream that breaks is resumed."""
    path = task_path(task_id, "events")
    cursor = Cursor(after)
    retries = Retries(policy)
    while True:
        chunks = cursor.chunks
        failed = yield from follow_stream(policy, path, cursor)
        if failed is None:
            return
        if not failed.retryable:
            raise failed.error
        if cursor.chunks > chunks:
            retries = Retries(policy)
        yield from retries.pause(failed)


def wait(policy: HttpPolicy, task_id: UUID | str, timeout_s: float, began: float | None = None) -> Steps[Task]:
    """The task once it has ended. Its event stream says when to fetch it; without a stream it is polled.

    The timeout runs from `began`, or from now.

    Raises:
        DeadlineError: it has not ended after `timeout_s`.
    """
    path = task_path(task_id, "events")
    until = (policy.now() if began is None else began) + timeout_s
    cursor = Cursor(0)
    silent = 0
    pause = policy.first_pause_s
    while True:
        failed: FailedAttempt | None = None
        if silent < MAX_SILENT_STREAMS and policy.now() < until:
            chunks = cursor.chunks
            failed = yield from follow_stream(policy, path, cursor, until)
            silent = 0 if cursor.chunks > chunks else silent + 1
        task = yield from get(policy, task_id, max(until, policy.now() + LAST_POLL_S))
        if task.ended:
            return task
        left = until - policy.now()
        if left <= 0:
            raise _not_ended(task, timeout_s)
        # A Retry-After of the stream also holds for polling.
        retry_after_s = (failed.error.retry_after_s or 0.0) if failed is not None else 0.0
        yield Pause(min(left, max(retry_after_s, pause * policy.jitter())))
        pause = min(2 * pause, MAX_POLL_S) if silent else policy.first_pause_s


def run(policy: HttpPolicy, task: NewTask, returns: type[object] | None, timeout_s: float) -> Steps[object]:
    """Submit, wait, and return the result as a `returns`, or unchanged when that is None.

    Raises:
        TaskFailedError: the task failed or was cancelled.
        UnexpectedResultError: its result does not fit `returns`.
        DeadlineError: it has not ended after `timeout_s`.
    """
    began = policy.now()
    submitted = yield from submit(policy, task, began + timeout_s)
    ended = submitted if submitted.ended else (yield from wait(policy, submitted.id, timeout_s, began))
    if ended.status is not Status.COMPLETED:
        raise TaskFailedError.of(ended)
    return ended.result if returns is None else _typed(ended, returns)


def _typed(task: Task, returns: type[object]) -> object:
    try:
        # As JSON, so that strict models accept what JSON has no type for: dates, UUIDs, tuples.
        adapter: TypeAdapter[object] = TypeAdapter(returns)
        return adapter.validate_json(to_json(task.result, "result"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UnexpectedResultError.of(task, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _not_ended(task: Task, timeout_s: float) -> DeadlineError:
    hint = "It continues: wait for it again, or cancel it."
    return DeadlineError(
        f"Task {task.id} is {task.status} after {timeout_s:g} s. {hint}", task_id=str(task.id), task_status=task.status
    )
