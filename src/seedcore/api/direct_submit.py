"""Submits a single task without the framework: most requests of the gateway are just that."""

from fastapi.responses import Response

from seedcore.api.gateway import Gateway
from seedcore.api.headers import decoded_key
from seedcore.api.task_routes import submit_task
from seedcore.tasks.submission.task_request import TaskIn
from seedcore.web.access.caller import Caller
from seedcore.web.direct_routes import DirectHandler, Headers

_FIELDS = TaskIn.model_fields.keys()
_KEY = b"idempotency-key"


def direct_submit(gateway: Gateway) -> DirectHandler:
    """The handler of `POST /api/v1/tasks` for bodies with known fields only."""

    async def handle(body: dict[str, object], headers: Headers, _caller: Caller) -> Response | None:
        keys = [value for name, value in headers if name == _KEY]
        if len(keys) > 1 or not body.keys() <= _FIELDS:
            return None
        try:
            key = decoded_key(keys[0].decode("latin-1")) if keys else None
        except ValueError:
            return None
        return await submit_task(body, gateway, key)

    return handle
