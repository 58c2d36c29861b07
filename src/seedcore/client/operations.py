"""The operations, each a flow: what the sync and the async client have in common, which is all of it."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from seedcore.client.errors import SubmitManyError, TaskFailedError, UnexpectedResultError
from seedcore.client.event_stream import Cursor, stream
from seedcore.client.http_retry import Policy, Retries, call
from seedcore.client.models import Ids, NewTask, Page, Plan, QueueState, Skills, Status, Task, to_json
from seedcore.client.protocol import PREFIX, Emit, Flow, Pause, Request, Trouble
from seedcore.errors import DeadlineError, FieldError, InvalidInputError, SeedCoreError, TooLargeError, UnavailableError

MAX_BATCH_TASKS = 10_000
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""What SeedCore takes in one batch, unless its settings say otherwise."""

BARREN_STREAMS = 3
"""Event streams in a row that say nothing, before `wait` polls alone."""

LONGEST_POLL_S = 2.0
LAST_LOOK_S = 1.0

_HEAD, _TAIL = b'{"tasks":[', b"]}"


def task_path(task_id: UUID | str, verb: str = "") -> str:
    """The path of a task, or of what is done to it.

    Raises:
        InvalidInputError: it is not a task id.
    """
    try:
        known = task_id if isinstance(task_id, UUID) else UUID(task_id)
    except (ValueError, AttributeError, TypeError):
        message = "not a task id"
        raise InvalidInputError.for_field("task_id", message) from None
    return f"{PREFIX}/tasks/{known}" + (f"/{verb}" if verb else "")


def submit(policy: Policy, task: NewTask, until: float | None = None) -> Flow[Task]:
    """Submit one task. It always has a key, so that sending it again makes no second one."""
    body = task.keyed(str(uuid.uuid4())).encode()
    return (yield from call(policy, Request("POST", f"{PREFIX}/tasks", body=body), Task, until))


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks of one `POST /tasks/batch`, and its body."""

    tasks: list[NewTask]
    body: bytes


def batches(tasks: Iterable[NewTask], max_tasks: int, max_bytes: int) -> Iterator[Batch]:
    """The tasks in order, as many to a batch as fit; `tasks` is read no further than the batch needs.

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
        piece = task.encode()
        if len(_HEAD) + len(piece) + len(_TAIL) > max_bytes:
            message = f"{len(piece)} bytes do not fit into a batch of at most {max_bytes}"
            raise TooLargeError(f"params: {message}.", errors=[FieldError("params", message)], limit=max_bytes)
        # Every piece but the first has a comma in front.
        if len(held) == max_tasks or size + len(piece) + bool(held) > max_bytes:
            yield Batch(held, _HEAD + b",".join(pieces) + _TAIL)
            held, pieces, size = [], [], len(_HEAD) + len(_TAIL)
        size += len(piece) + bool(held)
        held.append(task)
        pieces.append(piece)
    if held:
        yield Batch(held, _HEAD + b",".join(pieces) + _TAIL)


def submit_many(policy: Policy, tasks: Iterable[NewTask], max_tasks: int, max_bytes: int) -> Flow[list[UUID]]:
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
            answer = yield from call(policy, Request("POST", f"{PREFIX}/tasks/batch", body=batch.body), Ids)
            if len(answer.ids) != len(batch.tasks):
                raise UnavailableError(f"{policy.base_url} gave {len(answer.ids)} ids for {len(batch.tasks)} tasks.")
            ids += answer.ids
            sending = []
    except SeedCoreError as error:
        raise SubmitManyError.of(ids, sending, error) from error
    return ids


def get(policy: Policy, task_id: UUID | str, until: float | None = None) -> Flow[Task]:
    """One task."""
    return (yield from call(policy, Request("GET", task_path(task_id)), Task, until))


def find(policy: Policy, filters: dict[str, Any], limit: int | None, page_size: int) -> Flow[None]:
    """Emit tasks, the newest first, page after page; `limit` at most."""
    if not 1 <= page_size <= 500 or (limit is not None and limit < 0):
        raise InvalidInputError("page_size must lie in 1 to 500, and limit not be negative.")
    query = {name: str(value) for name, value in filters.items() if value is not None}
    left = limit
    cursor: dict[str, str] = {}
    while left is None or left > 0:
        size = page_size if left is None else min(page_size, left)
        request = Request("GET", f"{PREFIX}/tasks", {**query, **cursor, "limit": size})
        page = yield from call(policy, request, Page)
        for task in page.items:
            yield Emit(task)
        if page.next_cursor is None:
            return
        cursor = {"cursor": page.next_cursor}
        left = None if left is None else left - len(page.items)


def control(policy: Policy, task_id: UUID | str, verb: str, reason: str | None = None) -> Flow[Task]:
    """Cancel, retry, approve or reject.

    It is not repeated when the answer got lost: the second answer would be that it cannot be done any more.
    """
    body = None if reason is None else to_json({"reason": reason}, "reason")
    return (yield from call(policy, Request("POST", task_path(task_id, verb), body=body, repeatable=False), Task))


def plan(policy: Policy, task_id: UUID | str) -> Flow[list[Task]]:
    """The steps of a plan."""
    return (yield from call(policy, Request("GET", task_path(task_id, "plan")), Plan)).steps


def queue(policy: Policy) -> Flow[QueueState]:
    """The state of the queues."""
    return (yield from call(policy, Request("GET", f"{PREFIX}/queue"), QueueState))


def skills(policy: Policy) -> Flow[Skills]:
    """Every skill."""
    return (yield from call(policy, Request("GET", f"{PREFIX}/skills"), Skills))


def events(policy: Policy, task_id: UUID | str, after: int) -> Flow[None]:
    """Emit a task's events after the id `after`, to its last one; a stream that breaks is resumed."""
    path = task_path(task_id, "events")
    cursor = Cursor(after)
    retries = Retries(policy)
    while True:
        heard = cursor.heard
        trouble = yield from stream(policy, path, cursor)
        if trouble is None:
            return
        if not trouble.again:
            raise trouble.error
        if cursor.heard > heard:
            retries = Retries(policy)
        yield from retries.pause(trouble)


def wait(policy: Policy, task_id: UUID | str, timeout_s: float, began: float | None = None) -> Flow[Task]:
    """The task once it has ended: its stream tells when to look, and looking now and then must do without one.

    The time runs from `began` on, or from now.

    Raises:
        DeadlineError: it has not ended after `timeout_s`.
    """
    path = task_path(task_id, "events")
    until = (policy.now() if began is None else began) + timeout_s
    cursor = Cursor(0)
    barren = 0
    pause = policy.first_pause_s
    while True:
        trouble: Trouble | None = None
        if barren < BARREN_STREAMS and policy.now() < until:
            heard = cursor.heard
            trouble = yield from stream(policy, path, cursor, until)
            barren = 0 if cursor.heard > heard else barren + 1
        task = yield from get(policy, task_id, max(until, policy.now() + LAST_LOOK_S))
        if task.ended:
            return task
        left = until - policy.now()
        if left <= 0:
            raise _not_ended(task, timeout_s)
        # A server may say when to come back, also to those who poll meanwhile.
        asked = (trouble.error.retry_after_s or 0.0) if trouble is not None else 0.0
        yield Pause(min(left, max(asked, pause * policy.jitter())))
        pause = min(2 * pause, LONGEST_POLL_S) if barren else policy.first_pause_s


def run(policy: Policy, task: NewTask, returns: Any, timeout_s: float) -> Flow[Any]:
    """Submit, wait, and give the result as `returns`, or as it is when that is None.

    Raises:
        TaskFailedError: the task failed or was cancelled.
        UnexpectedResultError: its result is no `returns`.
        DeadlineError: it has not ended after `timeout_s`.
    """
    began = policy.now()
    submitted = yield from submit(policy, task, began + timeout_s)
    ended = submitted if submitted.ended else (yield from wait(policy, submitted.id, timeout_s, began))
    if ended.status is not Status.COMPLETED:
        raise TaskFailedError.of(ended)
    return ended.result if returns is None else _typed(ended, returns)


def _typed(task: Task, returns: Any) -> Any:
    try:
        # As JSON, so that strict models take what JSON has no type for: dates, UUIDs, tuples.
        return TypeAdapter(returns).validate_json(to_json(task.result, "result"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UnexpectedResultError.of(task, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _not_ended(task: Task, timeout_s: float) -> DeadlineError:
    mend = "It goes on: wait for it again, or cancel it."
    return DeadlineError(
        f"Task {task.id} is {task.status} after {timeout_s:g} s. {mend}", task_id=str(task.id), task_status=task.status
    )
