"""`seedcore approve` and `seedcore reject`: over HTTP, with SEEDCORE_API_KEY."""

from uuid import UUID

from seedcore.client import SeedCore
from seedcore.errors import InvalidInputError
from seedcore.settings import Settings
from seedcore.utils.tls.contexts import client_context

RETRY_FOR_S = 5.0


def decide(settings: Settings, task_id: str, reason: str | None, *, as_json: bool) -> str:
    """Release a task, or refuse it for a reason; returns what to print.

    Raises:
        InvalidInputError: that is not a valid task id.
        SeedCoreError: it was refused, or the gateway does not answer.
    """
    try:
        known = UUID(task_id)
    except ValueError:
        raise InvalidInputError.for_field("id", f"{task_id!r} is not a valid task id") from None
    import httpx

    transport = httpx.HTTPTransport(verify=client_context(settings) or True)
    with SeedCore(
        settings.base_url, api_key=settings.client_key, retry_for_s=RETRY_FOR_S, transport=transport
    ) as seedcore:
        task = seedcore.approve(known) if reason is None else seedcore.reject(known, reason)
    if as_json:
        return task.model_dump_json()
    return f"{task.id} {'released' if reason is None else 'refused'}: {task.status}"
