"""Errors of the client alone; all others are those of `seedcore.errors`."""

from collections.abc import Sequence
from uuid import UUID

from seedcore.client.models import NewTask, Task
from seedcore.errors import FieldError, SeedCoreError


class TaskFailedError(SeedCoreError):
    """A task that `run` waited for ended as failed or cancelled.

    Attributes:
        code: the task's error code (`skill_failed`, `policy_rejected`, ...); `cancelled` when it has none.
        message: the task's error message.
        task: the ended task.
    """

    code, title = "task_failed", "Task failed"
    message: str = ""
    task: Task

    @classmethod
    def of(cls, task: Task) -> "TaskFailedError":
        """The error of a task that did not complete."""
        code = str(task.status) if task.error is None else task.error.code
        message = "" if task.error is None else task.error.message or ""
        error = cls(f"Task {task.id} ({task.type}) {task.status}: {code}" + (f": {message}" if message else ""))
        # Callers look at the code of the task's own error, which differs from task to task.
        error.code = code  # type: ignore[misc]
        error.message, error.task = message, task
        return error

    @property
    def transient(self) -> bool:
        """False: the task's own attempts are spent."""
        return False

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process borders with the task."""
        return TaskFailedError.of, (self.task,)


class UnexpectedResultError(SeedCoreError):
    """A task completed, but its result does not fit `returns`; `task` holds it, `reason` says why."""

    code, title = "unexpected_result", "Unexpected result"
    task: Task
    reason: str

    @classmethod
    def of(cls, task: Task, reason: str) -> "UnexpectedResultError":
        """The error of a task whose result does not fit."""
        error = cls(f"Task {task.id} ({task.type}) completed with another result than expected: {reason}")
        error.task, error.reason = task, reason
        return error

    @property
    def transient(self) -> bool:
        """False: the result stays what it is."""
        return False

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process borders with the task."""
        return UnexpectedResultError.of, (self.task, self.reason)


class SubmitManyError(SeedCoreError):
    """A batch of `submit_many` failed.

    Attributes:
        accepted: the ids of the tasks before it, in order: they are in SeedCore.
        unsure: the tasks of the failed batch, with the keys that they were sent with. They were refused, or the
            response was lost; submitting them again creates no second task.
        cause: why it failed. Nothing after `unsure` was sent.
    """

    code, title = "batch_failed", "Batch failed"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        **extra: object,
    ) -> None:
        super().__init__(detail, errors=errors, retry_after_s=retry_after_s, **extra)
        # Defaults for an error that is rebuilt from a problem document.
        self.accepted: list[UUID] = []
        self.unsure: list[NewTask] = []
        self.cause = SeedCoreError(detail)

    @classmethod
    def of(cls, accepted: list[UUID], unsure: Sequence[NewTask], cause: SeedCoreError) -> "SubmitManyError":
        """The error of a batch that came after `accepted`."""
        detail = f"{len(accepted)} tasks were accepted, then a batch of {len(unsure)} failed: {cause.detail}"
        errors = [FieldError(_shifted(item.field, len(accepted)), item.message) for item in cause.errors]
        error = cls(detail, errors=errors, retry_after_s=cause.retry_after_s)
        error.accepted, error.unsure, error.cause = accepted, list(unsure), cause
        return error

    @property
    def transient(self) -> bool:
        """Whether the failed batch may be accepted later."""
        return self.cause.transient

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process borders with all attributes."""
        return SubmitManyError.of, (self.accepted, self.unsure, self.cause)


def _shifted(field: str, by: int) -> str:
    """`tasks.3.params` of a batch, counted from the first task of all batches."""
    head, _, rest = field.partition(".")
    number, _, rest = rest.partition(".")
    return f"tasks.{int(number) + by}.{rest}".rstrip(".") if head == "tasks" and number.isdecimal() else field
