"""`seedcore approve` and `seedcore reject`: over HTTP, as whoever SEEDCORE_API_KEY is."""

from uuid import UUID

from seedcore.client import SeedCore
from seedcore.errors import FieldError, InvalidInputError
from seedcore.settings import Settings

RETRY_FOR_S = 5.0


def decide(settings: Settings, task_id: str, reason: str | None, *, as_json: bool) -> str:
    """Release a task, or refuse it for a reason; returns what to print.

    Raises:
        InvalidInputError: that is no task's id.
        SeedCoreError: it was refused, or nobody answers.
    """
    try:
        known = UUID(task_id)
    except ValueError:
        raise InvalidInputError(f"{task_id!r} is no task id.", errors=[FieldError("id", "not a task id")]) from None
    with SeedCore(settings.base_url, api_key=settings.client_key, retry_for_s=RETRY_FOR_S) as seedcore:
        task = seedcore.approve(known) if reason is None else seedcore.reject(known, reason)
    if as_json:
        return task.model_dump_json()
    return f"{task.id} {'released' if reason is None else 'refused'}: {task.status}"
